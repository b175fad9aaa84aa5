package smtp

import (
	"encoding/base64"
	"slices"
	"strings"

	gosasl "github.com/emersion/go-sasl"

	"github.com/exsim/exsim/sim/trace"
)

// Authenticator is implemented by a session that knows mechanisms of AUTH
// (RFC 4954), or of a verb of the same form.
type Authenticator interface {
	// Authenticate begins an exchange; the session remembers who has proven what.
	Authenticate(verb, mechanism string) (gosasl.Server, error)
}

// hidden stands in a trace for what a client says of itself in AUTH.
const hidden = "<authentication response>\r\n"

func (c *conn) auth(args string) error {
	offered, ok := c.keyword(c.verb)
	mechanism, initial, given := strings.Cut(args, " ")
	mechanism = strings.ToUpper(mechanism)
	back, can := c.back.(Authenticator)
	switch {
	case !ok:
		c.fail(ReplyUnrecognized)
	case c.hello == "":
		c.fail(ReplySendHello)
	case c.mail || c.authenticated:
		c.fail(ReplyBadSequence)
	case !slices.Contains(offered, mechanism):
		c.failLogon(ReplyUnknownMechanism)
	case !can:
		c.fail(ReplyAuthUnavailable)
	default:
		server, err := back.Authenticate(c.verb, mechanism)
		if err != nil {
			c.logonFailed(mechanism, err)
			return nil
		}
		return c.dialogue(server, mechanism, strings.TrimSpace(initial), given)
	}
	return nil
}

// dialogue goes through a mechanism.
func (c *conn) dialogue(server gosasl.Server, mechanism, initial string, given bool) error {
	var response []byte
	var ok bool
	switch prompt := Reply(strings.ToLower(mechanism) + "-supported"); {
	case given:
		if response, ok = decoded(initial); !ok {
			c.failLogon(ReplyInvalidArguments)
			return nil
		}
	case c.s.conf.Replies[prompt] != "": // words in place of a first challenge, as [MS-SMTPNTLM] has it
		c.reply(prompt)
		if response, ok = c.response(); !ok {
			return c.lineErr
		}
	}
	for {
		challenge, done, err := server.Next(response)
		switch {
		case err != nil:
			c.logonFailed(mechanism, err)
			return nil
		case done:
			c.authenticated = true
			c.s.conf.Trace.Record(c.session, trace.Session{}, authenticated{mechanism, who(c.back)}, nil)
			c.reply(ReplyAuthOK)
			return nil
		}
		c.say(334, "334 "+base64.StdEncoding.EncodeToString(challenge))
		if response, ok = c.response(); !ok {
			return c.lineErr
		}
	}
}

// decoded is what base64 holds; = alone is an empty response (RFC 4954 §4).
func decoded(text string) ([]byte, bool) {
	if text == "=" {
		return []byte{}, true
	}
	b, err := base64.StdEncoding.DecodeString(text)
	return b, err == nil && len(b) > 0
}

// response reads the client's next line; false when the exchange is over, which
// is answered, or the connection, which lineErr tells.
func (c *conn) response() ([]byte, bool) {
	var line []byte
	if line, c.lineErr = c.line(); c.lineErr != nil {
		return nil, false
	}
	c.s.conf.Trace.Record(c.session, trace.Session{}, received{c.verb}, []byte(hidden))
	text := strings.TrimRight(string(line), "\r\n")
	if text == "*" {
		c.fail(ReplyAuthCancelled)
		return nil, false
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if line == nil || err != nil {
		c.failLogon(ReplyInvalidArguments)
		return nil, false
	}
	if b == nil {
		b = []byte{} // nil means no response at all
	}
	return b, true
}

// Named is implemented by a session that knows whom it serves.
type Named interface{ User() string }

func who(back any) string {
	if n, ok := back.(Named); ok {
		return n.User()
	}
	return ""
}

// logonFailed answers a log-on that did not succeed.
func (c *conn) logonFailed(mechanism string, err error) {
	c.s.conf.Trace.Record(c.session, trace.Session{}, logonFailed{c.remote.String(), mechanism, err.Error()}, nil)
	c.logons++
	c.failLogon(ReplyAuthFailed)
}

// failLogon is fail, delayed as log-ons are.
func (c *conn) failLogon(name Reply) {
	c.delay(c.s.conf.AuthTarpit, name)
	c.errors++
	c.reply(name)
}
