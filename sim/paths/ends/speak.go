package ends

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/exsim/exsim/sim/handed"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/paths/record"
	"github.com/exsim/exsim/sim/transport"
	"github.com/exsim/exsim/sim/um"
	"github.com/exsim/exsim/sip"
	"github.com/exsim/exsim/smtp"
)

// equip puts the endpoint of the flow's protocol behind its listener: what
// answers there is what answers in a simulated organisation.
func (in *inbox) equip() {
	switch dialogue(in.flow) {
	case "SIP":
		in.sip()
	case "SMTP":
		in.smtp()
	}
}

// behind serves an endpoint with the connections that this inbox accepts.
func (in *inbox) behind(ep interface {
	Serve(ln net.Listener) error
	io.Closer
}) {
	h := handed.New(net.TCPAddrFromAddrPort(in.e.bound(in.flow.Listen, in.flow.Ports.First())))
	in.serve = h.Give
	in.closers = append(in.closers, h, ep)
	in.wg.Go(func() { _ = ep.Serve(h) })
}

// description is the session description of both sides: addresses and ports
// that something in between may want to change.
func description(addr netip.Addr, port uint16) []byte {
	family := "IP4"
	if addr.Is6() {
		family = "IP6"
	}
	return fmt.Appendf(nil, "v=0\r\no=exsim 1 1 IN %s %s\r\ns=exsim\r\nc=IN %s %s\r\nt=0 0\r\nm=audio %d RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"+
		"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=rtcp:%d IN %s %s\r\na=sendrecv\r\n", family, addr, family, addr, port, port+1, family, addr)
}

// mediaPort is named in session descriptions of probes; no media follows.
const mediaPort = 40000

// markHeader carries the answer's token.
const markHeader = "X-Exsim-Probe"

// wantMedia is what a Call-ID says behind its token where the answer is to name a
// port of media: a header of its own could be taken away.
func wantMedia(port uint16) string {
	if port == 0 {
		return ""
	}
	return fmt.Sprintf("-media-%d", port)
}

var mediaWanted = regexp.MustCompile(`-[0-9a-f]{16}-media-([0-9]{1,5})`)

// sip answers OPTIONS and INVITE of the other end, and refuses all others.
func (in *inbox) sip() {
	f, port := in.flow, in.flow.Ports.First()
	transportName := "TCP"
	if secure(f) {
		transportName = "TLS"
	}
	in.behind(sip.New(sip.Config{Dialect: um.Dialect(in.e.facts, false), Transport: transportName, Handler: sip.HandlerFunc(func(tx *sip.ServerTx) {
		owner, nonce, ok := in.find(port, []byte(tx.CallID()))
		if !ok {
			tx.Respond(sip.Response{Status: 403, Reason: "Forbidden"})
			return
		}
		r := sip.Response{Status: 200, Reason: "OK", Headers: []string{markHeader + ": " + in.e.mint.token(wordReply, owner.flow, port, nonce)}}
		if tx.Method() != "INVITE" {
			tx.Respond(r)
			return
		}
		r.Contact = fmt.Sprintf("<sip:%s;transport=%s>", in.e.bound(f.Listen, port), strings.ToLower(transportName))
		r.Body = description(f.Listen, wantedMedia(tx.CallID()))
		tx.Accept(r, nobody{})
	})}))
}

// wantedMedia is the port that a caller wants to be named.
func wantedMedia(callID string) uint16 {
	if m := mediaWanted.FindStringSubmatch(callID); m != nil {
		if n, err := strconv.ParseUint(m[1], 10, 16); err == nil && n > 0 {
			return uint16(n)
		}
	}
	return mediaPort
}

// nobody is in a probe's dialog.
type nobody struct{}

func (nobody) Acknowledged([]byte) {}
func (nobody) Ended(sip.End)       {}

func (nobody) Request(tx *sip.ServerTx) {
	tx.Respond(sip.Response{Status: 403, Reason: "Forbidden"})
}

// probeDomain is where probes are addressed to; nothing outside is.
const probeDomain = "exsim.invalid"

// smtp answers as the version's receive connector, and takes the other end's
// message only, which goes nowhere.
func (in *inbox) smtp() {
	row := "default"
	if _, ok := in.e.facts.Port("default-frontend"); ok {
		row = "default-frontend"
	}
	fact := in.e.facts.Connectors[row]
	connector := &org.Connector{Tail: fact.Tail, ConnectorSettings: fact.ConnectorSettings}
	p := &in.e.facts.SMTP
	name := in.flow.To.Name + "." + probeDomain
	srv, err := smtp.New(smtp.Config{
		Backend: &postOffice{in},
		Banner: func(now time.Time) string {
			return strings.NewReplacer("{fqdn}", name, "{date}", now.Format("Mon, 2 Jan 2006 15:04:05 -0700")).Replace(p.Banner)
		},
		Hello: func(remote netip.Addr) string {
			return strings.NewReplacer("{fqdn}", name, "{ip}", remote.String()).Replace(p.Hello)
		},
		Keywords: func(secured string) []string {
			return transport.Keywords(in.e.facts, connector, transport.Security{Verb: secured, Certificate: true})
		},
		Replies: transport.Replies(in.e.facts),
		TLS:     &tls.Config{Certificates: []tls.Certificate{in.e.cert}, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert},

		MaxMessageSize: 1 << 20, MaxRecipients: 1, MaxConnections: maxConns, MaxErrors: 3, Inactivity: dialogueTime, Session: dialogueTime,
	})
	if err != nil {
		in.e.say("the SMTP endpoint of %s: %v", in.flow.ID, err)
		return
	}
	in.behind(srv)
}

// postOffice is the back end of a probe's connector.
type postOffice struct{ in *inbox }

// Session begins at EHLO, whose name bears the token.
func (o *postOffice) Session(p smtp.Peer) (gosmtp.Session, error) {
	in, nonce, ok := o.in.find(o.in.flow.Ports.First(), []byte(p.Hello))
	if ok {
		in.mu.Lock()
		in.arrived(in.flow.Ports.First(), p.Remote)
		if p.TLS != nil {
			if in.got.Stream == nil {
				in.got.Stream = &record.Stream{}
			}
			in.got.Stream.TLS = seen(*p.TLS, &in.e.cert)
		}
		in.mu.Unlock()
	}
	if !ok {
		return &letter{}, nil
	}
	return &letter{reply: in.e.mint.token(wordReply, in.flow, in.flow.Ports.First(), nonce)}, nil
}

// errStranger refuses whoever is not the other end.
var errStranger = &smtp.Refusal{Reply: "unable-to-relay", Cause: errors.New("no probe of the other end")}

// letter is the one message that a probe may send; reply proves to whoever sent
// it that it came here, "" to a stranger.
type letter struct{ reply string }

func (l *letter) Mail(string, *gosmtp.MailOptions) error { return nil }

func (l *letter) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	if l.reply == "" || !strings.HasSuffix(to, "@"+probeDomain) {
		return errStranger
	}
	return nil
}

func (l *letter) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

func (l *letter) Queued() map[string]string {
	return map[string]string{"message-id": "<" + l.reply + "@" + probeDomain + ">", "id": "0", "hostname": probeDomain}
}

func (l *letter) Reset()        {}
func (l *letter) Logout() error { return nil }
