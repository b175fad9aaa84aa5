package smtp

import (
	"crypto/tls"
	"slices"
	"strconv"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/exsim/exsim/sim/trace"
)

// handler finds a command that a session may know; whether it is served hangs
// on what EHLO offers.
func handler(verb string) func(c *conn, args string) error {
	switch verb {
	case "HELO":
		return (*conn).helo
	case "EHLO":
		return (*conn).ehlo
	case "STARTTLS", "X-ANONYMOUSTLS":
		return (*conn).startTLS
	case "AUTH", "X-EXPS":
		return (*conn).auth
	case "MAIL":
		return (*conn).mailFrom
	case "RCPT":
		return (*conn).rcptTo
	case "DATA":
		return (*conn).data
	case "BDAT":
		return (*conn).bdat
	case "XEXCH50":
		return (*conn).blob
	case "RSET":
		return (*conn).rset
	case "NOOP":
		return (*conn).noop
	case "HELP":
		return (*conn).help
	case "VRFY":
		return (*conn).vrfy
	case "QUIT":
		return (*conn).quit
	}
	return nil
}

// offer is what EHLO says in a state of TLS: its lines, and the parameters of
// each keyword.
type offer struct {
	lines  []string
	params map[string][]string
}

// offer is computed once for each state: the settings of a server do not change.
func (s *Server) offer(secured string) *offer {
	if o, ok := s.offers.Load(secured); ok {
		if o, ok := o.(*offer); ok {
			return o
		}
	}
	o := &offer{lines: s.conf.Keywords(secured), params: map[string][]string{}}
	for _, k := range o.lines {
		f := strings.Fields(k)
		o.params[f[0]] = f[1:]
	}
	s.offers.Store(secured, o)
	return o
}

// keyword finds what EHLO offers under a name in the present state of TLS.
func (c *conn) keyword(name string) (params []string, ok bool) {
	params, ok = c.s.offer(c.secured).params[name]
	return params, ok
}

func (c *conn) offers(name string) bool { _, ok := c.keyword(name); return ok }

func (c *conn) helo(args string) error {
	if c.greet(args, false) {
		c.say(250, "250 "+c.s.conf.Hello(c.remote.Addr()))
	}
	return nil
}

// ehlo answers with the offers, the last behind a blank; all in one write.
func (c *conn) ehlo(args string) error {
	if !c.greet(args, true) {
		return nil
	}
	lines := append([]string{c.s.conf.Hello(c.remote.Addr())}, c.s.offer(c.secured).lines...)
	var b strings.Builder
	for i, l := range lines {
		switch {
		case i == len(lines)-1:
			b.WriteString("250 " + l)
		default:
			b.WriteString("250-" + l + "\n")
		}
	}
	c.say(250, b.String())
	return nil
}

// greet begins a new session behind HELO or EHLO. An empty name is taken, as
// [MS-SMTPNTLM] clients send it.
func (c *conn) greet(name string, esmtp bool) bool {
	if !domainOK(name) || name == "" && c.s.conf.RequireDomain {
		c.fail(ReplyInvalidDomain)
		return false
	}
	c.reset()
	c.logout()
	back, err := c.s.conf.Backend.Session(Peer{
		Remote: c.remote, Local: addrPort(c.nc.LocalAddr()), Hello: name, TLS: c.tls, Secured: c.secured, Trace: c.session, Closing: c.s.closing,
	})
	if err != nil {
		c.refuse(err)
		return false
	}
	c.back, c.esmtp, c.authenticated = back, esmtp, false
	c.hello = name
	if name == "" {
		c.hello = c.remote.Addr().String()
	}
	return true
}

// domainOK accepts a domain, an address literal, or nothing.
func domainOK(name string) bool {
	if strings.HasPrefix(name, "[") && strings.HasSuffix(name, "]") {
		return !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '<' || r == '>' || r == 0x7f })
	}
	if len(name) > 255 || strings.HasSuffix(name, ".") {
		return false
	}
	for _, r := range name {
		alnum := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !alnum && r != '.' && r != '-' && r <= 0x7f {
			return false
		}
	}
	return true
}

// startTLS shakes hands and forgets everything before it, also commands that
// came in clear behind this one (RFC 3207 §4.2).
func (c *conn) startTLS(args string) error {
	conf := c.s.conf.TLS
	if c.verb == "X-ANONYMOUSTLS" {
		conf = c.s.conf.AnonymousTLS
	}
	if !c.offers(c.verb) || conf == nil || c.tls != nil {
		c.fail(ReplyUnrecognized)
		return nil
	}
	if args != "" {
		c.fail(ReplyInvalidArguments)
		return nil
	}
	c.reply(ReplyStartTLS)
	if err := c.flush(); err != nil {
		return err
	}
	c.in = nil // also what came while the answer was held back
	t := tls.Server(c.raw, conf)
	_ = t.SetDeadline(c.deadline())
	if err := t.Handshake(); err != nil {
		c.s.conf.Trace.Record(c.session, trace.Session{}, tlsEvent{err: err.Error()}, nil)
		return err
	}
	_ = t.SetDeadline(time.Time{})
	state := t.ConnectionState()
	c.nc, c.tls, c.secured = t, &state, c.verb
	c.s.conf.Trace.Record(c.session, trace.Session{}, tlsEvent{state: &state, verb: c.verb}, nil)
	c.reset()
	c.logout()
	c.hello = ""
	return nil
}

func (c *conn) mailFrom(args string) error {
	switch {
	case c.hello == "":
		c.fail(ReplySendHello)
		return nil
	case c.mail:
		c.fail(ReplySenderSpecified)
		return nil
	}
	from, params, name := parsePath(args, "FROM:", true, c.maxPath())
	if name != "" {
		c.fail(name)
		return nil
	}
	opts, name := c.mailOptions(params)
	if name != "" {
		c.fail(name)
		return nil
	}
	if !opts.UTF8 && !ascii(from) {
		c.fail(ReplyUTF8Required)
		return nil
	}
	if c.tooBig(opts.Size) {
		c.fail(ReplyTooBig)
		return nil
	}
	if err := c.back.Mail(from, &opts); err != nil {
		c.refuse(err)
		return nil
	}
	c.mail, c.opts, c.rcpts = true, opts, 0
	c.delayed()
	c.reply(ReplySenderOK)
	return nil
}

// mailOptions reads the parameters of MAIL; each belongs to an offer.
func (c *conn) mailOptions(params []string) (gosmtp.MailOptions, Reply) {
	var o gosmtp.MailOptions
	for _, p := range params {
		key, value, _ := strings.Cut(p, "=")
		ok := false
		switch strings.ToUpper(key) {
		case "SIZE":
			n, err := strconv.ParseInt(value, 10, 63)
			ok = c.offers("SIZE") && err == nil && n >= 0
			o.Size = n
		case "BODY":
			o.Body = gosmtp.BodyType(strings.ToUpper(value))
			ok = o.Body == gosmtp.Body7Bit || o.Body == gosmtp.Body8BitMIME && c.offers("8BITMIME") || o.Body == gosmtp.BodyBinaryMIME && c.offers("BINARYMIME")
		case "SMTPUTF8":
			o.UTF8 = true
			ok = value == "" && c.offers("SMTPUTF8")
		case "RET":
			o.Return = gosmtp.DSNReturn(strings.ToUpper(value))
			ok = c.offers("DSN") && (o.Return == gosmtp.DSNReturnFull || o.Return == gosmtp.DSNReturnHeaders)
		case "ENVID":
			o.EnvelopeID, ok = decodeXtext(value)
			ok = ok && c.offers("DSN") && value != ""
		case "AUTH":
			who, good := decodeXtext(value)
			o.Auth, ok = &who, good && c.offers("AUTH")
		}
		if !ok || !c.esmtp {
			return o, ReplyInvalidArguments
		}
	}
	return o, ""
}

func (c *conn) rcptTo(args string) error {
	if !c.mail {
		c.fail(c.tooEarly())
		return nil
	}
	to, params, name := parsePath(args, "TO:", false, c.maxPath())
	if name != "" {
		c.fail(name)
		return nil
	}
	opts, name := c.rcptOptions(params)
	if name != "" {
		c.fail(name)
		return nil
	}
	if !c.opts.UTF8 && !ascii(to) {
		c.fail(ReplyUTF8Required)
		return nil
	}
	if m := c.s.conf.MaxRecipients; m > 0 && c.rcpts >= m {
		c.reply(ReplyTooManyRecipients) // the earlier ones stay valid: no error
		return nil
	}
	if err := c.back.Rcpt(to, &opts); err != nil {
		c.refuse(err)
		return nil
	}
	c.rcpts++
	c.reply(ReplyRecipientOK)
	return nil
}

func (c *conn) rcptOptions(params []string) (gosmtp.RcptOptions, Reply) {
	var o gosmtp.RcptOptions
	for _, p := range params {
		key, value, _ := strings.Cut(p, "=")
		ok := false
		switch strings.ToUpper(key) {
		case "NOTIFY":
			ok = true
			for _, n := range strings.Split(strings.ToUpper(value), ",") {
				ok = ok && slices.Contains([]string{"NEVER", "SUCCESS", "FAILURE", "DELAY"}, n)
				o.Notify = append(o.Notify, gosmtp.DSNNotify(n))
			}
			ok = ok && (len(o.Notify) == 1 || !slices.Contains(o.Notify, gosmtp.DSNNotifyNever))
		case "ORCPT":
			kind, address, found := strings.Cut(value, ";")
			o.OriginalRecipientType = gosmtp.DSNAddressType(strings.ToUpper(kind))
			o.OriginalRecipient, ok = decodeXtext(address)
			ok = ok && found && address != ""
		}
		if !ok || !c.esmtp || !c.offers("DSN") {
			return o, ReplyInvalidArguments
		}
	}
	return o, ""
}

// tooEarly is the refusal of a command that wants MAIL before it; before EHLO that
// is the first thing to say.
func (c *conn) tooEarly() Reply {
	if c.hello == "" {
		return ReplySendHello
	}
	return ReplyNeedMail
}

// reset ends the transaction.
func (c *conn) reset() {
	if c.chunks != nil {
		c.chunks.abort(gosmtp.ErrDataReset)
		c.chunks = nil
	}
	if c.back != nil && c.mail {
		c.back.Reset()
	}
	c.mail, c.rcpts, c.opts = false, 0, gosmtp.MailOptions{}
}

func (c *conn) rset(args string) error {
	if args != "" {
		c.fail(ReplyInvalidArguments)
		return nil
	}
	c.reset()
	c.reply(ReplyReset)
	return nil
}

func (c *conn) noop(string) error { c.reply(ReplyNoop); return nil }
func (c *conn) help(string) error { c.reply(ReplyHelp); return nil }
func (c *conn) vrfy(string) error { c.reply(ReplyVrfy); return nil }

func (c *conn) quit(string) error {
	c.reply(ReplyQuit)
	c.why = "QUIT"
	return errQuit
}

// decodeXtext decodes xtext (RFC 3461 §4).
func decodeXtext(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			if i+2 >= len(s) {
				return "", false
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			b.WriteByte(byte(n))
			i += 2
		case s[i] < '!' || s[i] > '~' || s[i] == '=':
			return "", false
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), true
}
