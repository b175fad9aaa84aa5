package um

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html/template"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim/trace"
)

// Message is what Unified Messaging hands to transport.
type Message struct {
	Kind     string // voice, missed
	From, To string // envelope
	Data     []byte
	Call     trace.Session
}

// caller is how a message names who called.
type caller struct {
	Name    string // resolved name, else the number
	Number  string
	Address string
}

// caller resolves an extension of the dial plan to its mailbox; for others an
// address is built from the number.
func (c *call) caller() caller {
	number := c.a.caller.User
	if m := c.w.conf.Org.MailboxOf(c.a.plan.Name, number); m != nil {
		return caller{m.Name, number, m.Address}
	}
	local := strings.ToLower(strings.TrimPrefix(number, "+"))
	return caller{number, number, local + "@" + c.w.conf.Org.Domain}
}

// voiceMessage is the mail of a recorded message.
func (c *call) voiceMessage(r rtp.Recording) (Message, error) {
	f := &c.w.conf.Profile.Message
	from := c.caller()
	length := spoken(r.Duration())
	name := fill(f.Attachment, from.Name, length)
	return c.message("voice", f.VoiceClass, fill(f.VoiceSubject, from.Name, length), from, [][2]string{
		{f.DurationHeader, strconv.Itoa(seconds(r.Duration()))},
		{f.SenderHeader, from.Name},
		{f.OrderHeader, name},
	}, &attachment{name: name, kind: "audio/wav", data: rtp.WAV(r.Codec, r.Octets)}, length)
}

// missedCall is the notice of a call that left no message.
func (c *call) missedCall() (Message, error) {
	f := &c.w.conf.Profile.Message
	from := c.caller()
	return c.message("missed", f.MissedClass, fill(f.MissedSubject, from.Name, ""), from, nil, nil, "")
}

func fill(text, caller, duration string) string {
	return strings.NewReplacer("{caller}", caller, "{duration}", duration).Replace(text)
}

// seconds rounds to whole ones; a message is never 0 seconds long.
func seconds(d time.Duration) int { return max(int(d.Round(time.Second)/time.Second), 1) }

// spoken prints a length as the subject has it.
func spoken(d time.Duration) string {
	unit := func(n int, name string) string {
		if n == 1 {
			return "1 " + name
		}
		return strconv.Itoa(n) + " " + name + "s"
	}
	s := seconds(d)
	switch {
	case s < 60:
		return unit(s, "second")
	case s%60 == 0:
		return unit(s/60, "minute")
	}
	return unit(s/60, "minute") + " " + unit(s%60, "second")
}

type attachment struct {
	name, kind string
	data       []byte
}

// message builds the mail: an HTML body, and the recording beside it.
func (c *call) message(kind, class, subject string, from caller, extra [][2]string, att *attachment, length string) (Message, error) {
	f := &c.w.conf.Profile.Message
	m := Message{Kind: kind, From: from.Address, To: c.a.mailbox.Address, Call: c.session}
	var b bytes.Buffer
	head := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, clean(value)) }
	head("From", (&mail.Address{Name: from.Name, Address: from.Address}).String())
	head("To", (&mail.Address{Name: c.a.mailbox.Name, Address: c.a.mailbox.Address}).String())
	head("Subject", mime.QEncoding.Encode("utf-8", subject))
	head("Date", time.Now().Format(time.RFC1123Z))
	head("Message-ID", fmt.Sprintf("<%016x%016x@%s>", c.w.conf.Rand(), c.w.conf.Rand(), c.w.conf.Server.FQDN))
	head("MIME-Version", "1.0")
	head("Content-Class", class)
	head(f.CallerHeader, from.Number)
	for _, x := range extra {
		head(x[0], mime.QEncoding.Encode("utf-8", x[1]))
	}
	head(f.CallHeader, c.callID)
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary(fmt.Sprintf("_%016x%016x_", c.w.conf.Rand(), c.w.conf.Rand())); err != nil {
		return m, err
	}
	head("Content-Type", fmt.Sprintf(`multipart/mixed; boundary="%s"`, w.Boundary()))
	b.WriteString("\r\n")
	if err := c.writeBody(w, subject, from, length); err != nil {
		return m, err
	}
	if att != nil {
		if err := writeAttachment(w, att); err != nil {
			return m, err
		}
	}
	if err := w.Close(); err != nil {
		return m, err
	}
	m.Data = b.Bytes()
	return m, nil
}

// clean keeps a value from ending its header.
func clean(v string) string {
	return strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' {
			return ' '
		}
		return r
	}, v)
}

var body = template.Must(template.New("body").Parse(`<html><head><meta charset="utf-8"></head><body>
<h3>{{.Subject}}</h3>
<table>
<tr><td>Caller:</td><td>{{.Caller.Name}}</td></tr>
<tr><td>Number:</td><td>{{.Caller.Number}}</td></tr>
<tr><td>Called:</td><td>{{.Called}}</td></tr>
{{if .Length}}<tr><td>Length:</td><td>{{.Length}}</td></tr>
{{end}}</table>
</body></html>
`))

func (c *call) writeBody(w *multipart.Writer, subject string, from caller, length string) error {
	part, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {"text/html; charset=utf-8"},
		"Content-Transfer-Encoding": {"quoted-printable"},
	})
	if err != nil {
		return err
	}
	q := quotedprintable.NewWriter(part)
	err = body.Execute(q, map[string]any{
		"Subject": subject, "Caller": from, "Length": length,
		"Called": c.a.mailbox.Name + " (" + c.a.mailbox.Extension + ")",
	})
	if err != nil {
		return err
	}
	return q.Close()
}

func writeAttachment(w *multipart.Writer, a *attachment) error {
	part, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {mime.FormatMediaType(a.kind, map[string]string{"name": a.name})},
		"Content-Disposition":       {mime.FormatMediaType("attachment", map[string]string{"filename": a.name})},
		"Content-Transfer-Encoding": {"base64"},
	})
	if err != nil {
		return err
	}
	text := base64.StdEncoding.EncodeToString(a.data)
	for len(text) > 0 {
		n := min(len(text), 76)
		if _, err := part.Write([]byte(text[:n] + "\r\n")); err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}
