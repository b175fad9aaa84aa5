package transport

import (
	"strconv"
	"strings"

	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/smtp"
)

// Keywords are the lines of EHLO behind the first, from a connector's settings,
// in the order that every public transcript of Exchange shows.
func Keywords(p *profile.Profile, f profile.Connector, tls bool) []string {
	var k []string
	switch f.Size {
	case "value":
		k = append(k, "SIZE "+strconv.FormatInt(f.MaxMessageSize, 10))
	case "bare":
		k = append(k, "SIZE")
	}
	k = append(k, p.SMTP.Features...)
	if f.TLS && !tls {
		k = append(k, "STARTTLS")
	}
	if f.ExchangeServer && !tls {
		k = append(k, "X-ANONYMOUSTLS")
	}
	if m := mechanisms(f, tls); m != "" {
		k = append(k, "AUTH "+m)
	}
	if f.ExchangeServer {
		k = append(k, "X-EXPS GSSAPI NTLM")
	}
	k = append(k, p.SMTP.BodyFeatures...)
	tail := f.Tail
	if len(tail) == 0 && f.ExchangeServer {
		tail = []string{"XRDST"}
	}
	for _, t := range tail {
		if t == "XRDST" && p.SMTP.UTF8 {
			k = append(k, "SMTPUTF8")
		}
		k = append(k, t)
	}
	return k
}

// mechanisms are those of AUTH, in Exchange's order.
func mechanisms(f profile.Connector, tls bool) string {
	var m []string
	if f.Integrated && f.GSSAPI {
		m = append(m, "GSSAPI")
	}
	if f.Integrated {
		m = append(m, "NTLM")
	}
	if f.Basic && (tls || !f.BasicRequiresTLS) {
		m = append(m, "LOGIN")
	}
	return strings.Join(m, " ")
}

// Replies are a profile's spellings of replies.
func Replies(p *profile.Profile) map[smtp.Reply]string {
	replies := map[smtp.Reply]string{}
	for name, text := range p.Replies {
		replies[smtp.Reply(name)] = text
	}
	return replies
}
