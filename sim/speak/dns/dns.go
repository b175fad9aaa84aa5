// Package dns answers for the names of a simulated organisation: its servers,
// and where its SIP and mail are (RFC 1035, RFC 2782). It knows nothing else and
// asks nobody: other names are refused.
package dns

import (
	"errors"
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/exsim/exsim/sim/trace"
)

// Zone is what is answered for.
type Zone struct {
	Domain string                  // of mail and SIP
	Hosts  map[string][]netip.Addr // names, in full
	SRV    map[string][]Target     // services such as _sip._tcp
	MX     []string                // hosts that take the domain's mail
}

// Target is where a service is.
type Target struct {
	Host string
	Port uint16
}

// Server answers on a pair of sockets.
type Server struct {
	udp, tcp *dns.Server
	src      *trace.Source
	zone     func() Zone
}

// New makes a server; the zone is asked for with each question, as servers come
// and go.
func New(pc net.PacketConn, ln net.Listener, zone func() Zone, src *trace.Source) *Server {
	s := &Server{src: src, zone: zone}
	s.udp = &dns.Server{PacketConn: pc, Handler: s}
	s.tcp = &dns.Server{Listener: ln, Handler: s}
	return s
}

// Serve answers until Close.
func (s *Server) Serve() error {
	failed := make(chan error, 2)
	for _, k := range []*dns.Server{s.udp, s.tcp} {
		go func() { failed <- k.ActivateAndServe() }()
	}
	return errors.Join(<-failed, <-failed)
}

// Close ends both, also where they were never served.
func (s *Server) Close() error {
	_ = s.udp.Shutdown() // an error means that it was not served
	_ = s.tcp.Shutdown()
	closed := func(err error) error {
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		return err
	}
	return errors.Join(closed(s.udp.PacketConn.Close()), closed(s.tcp.Listener.Close()))
}

// ServeDNS answers one question.
func (s *Server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	m.Authoritative = true
	if len(q.Question) == 1 && q.Opcode == dns.OpcodeQuery {
		s.answer(m, q.Question[0])
		s.src.Record(trace.Session{}, trace.Session{}, asked{q.Question[0], m}, nil)
	} else {
		m.Rcode = dns.RcodeFormatError
	}
	_ = w.WriteMsg(m) // who asked asks again
}

// ttl is short: a lab changes.
const ttl = 5

func (s *Server) answer(m *dns.Msg, q dns.Question) {
	zone := s.zone()
	name := strings.ToLower(strings.TrimSuffix(q.Name, "."))
	head := func(t uint16) dns.RR_Header {
		return dns.RR_Header{Name: q.Name, Rrtype: t, Class: dns.ClassINET, Ttl: ttl}
	}
	addrs, known := zone.Hosts[name]
	for _, a := range addrs {
		switch {
		case q.Qtype == dns.TypeA && a.Is4():
			m.Answer = append(m.Answer, &dns.A{Hdr: head(dns.TypeA), A: a.AsSlice()})
		case q.Qtype == dns.TypeAAAA && a.Is6():
			m.Answer = append(m.Answer, &dns.AAAA{Hdr: head(dns.TypeAAAA), AAAA: a.AsSlice()})
		}
	}
	service, ofDomain := strings.CutSuffix(name, "."+zone.Domain)
	targets, isService := zone.SRV[service]
	if ofDomain && isService {
		known = true
		for i, t := range targets {
			if q.Qtype == dns.TypeSRV {
				m.Answer = append(m.Answer, &dns.SRV{Hdr: head(dns.TypeSRV), Priority: uint16(i), Port: t.Port, Target: dns.Fqdn(t.Host)})
			}
		}
	}
	if name == zone.Domain {
		known = true
		for _, host := range zone.MX {
			if q.Qtype == dns.TypeMX {
				m.Answer = append(m.Answer, &dns.MX{Hdr: head(dns.TypeMX), Preference: 10, Mx: dns.Fqdn(host)})
			}
		}
	}
	switch {
	case known:
	case ofDomain:
		m.Rcode = dns.RcodeNameError
	default:
		m.Rcode, m.Authoritative = dns.RcodeRefused, false
	}
}

type asked struct {
	q dns.Question
	m *dns.Msg
}

func (asked) EventName() string { return "dns.asked" }
func (e asked) AppendTo(f *trace.Fields) {
	f.Text("name", strings.TrimSuffix(e.q.Name, "."))
	f.Text("type", dns.TypeToString[e.q.Qtype])
	f.Text("result", dns.RcodeToString[e.m.Rcode])
	f.Int("answers", int64(len(e.m.Answer)))
}

// Events lists the events that this package records.
func Events() []trace.EventType {
	return []trace.EventType{{Name: "dns.asked", Means: "a name was asked for", Fields: []trace.FieldType{
		{Key: "name", Means: "the name"}, {Key: "type", Means: "of the record: A, AAAA, SRV, MX"},
		{Key: "result", Means: "NOERROR, NXDOMAIN, or REFUSED for names of others"}, {Key: "answers", Means: "records in the answer"}}}}
}
