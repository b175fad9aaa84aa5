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
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/trace"
)

// Message is what Unified Messaging hands to transport.
type Message struct {
	Kind     string // voice, missed, pin
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
func (c *call) voiceMessage(m *org.Mailbox, r rtp.Recording, marked marks) (Message, error) {
	f := &c.w.conf.Profile.Message
	from := c.caller()
	length := spoken(r.Duration())
	name := fill(f.Attachment, from.Name, length)
	extra := [][2]string{
		{f.DurationHeader, strconv.Itoa(seconds(r.Duration()))},
		{f.SenderHeader, from.Name},
		{f.OrderHeader, name},
	}
	if marked.urgent {
		extra = append(extra, [2]string{"Importance", "High"})
	}
	if marked.private {
		extra = append(extra, [2]string{"Sensitivity", "Private"})
	}
	return c.build(content{
		to: m, from: from, kind: "voice", class: f.VoiceClass, subject: fill(f.VoiceSubject, from.Name, length), length: length, extra: extra,
		attachment: &attachment{name: name, kind: "audio/wav", data: rtp.WAV(r.Codec, r.Octets)},
	})
}

// missedCall is the notice of a call that left no message.
func (c *call) missedCall(m *org.Mailbox) (Message, error) {
	f := &c.w.conf.Profile.Message
	from := c.caller()
	return c.build(content{to: m, from: from, kind: "missed", class: f.MissedClass, subject: fill(f.MissedSubject, from.Name, "")})
}

// pinMessage tells the owner of a mailbox a new PIN.
func (c *call) pinMessage(m *org.Mailbox, pin string) (Message, error) {
	from := caller{Name: "Unified Messaging", Address: "unifiedmessaging@" + c.w.conf.Org.Domain}
	return c.build(content{to: m, from: from, kind: "pin", subject: c.w.conf.Profile.Message.PINSubject, text: "Your new PIN is " + pin + "."})
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

// content is what a mail says.
type content struct {
	to                                 *org.Mailbox
	from                               caller
	kind, class, subject, length, text string
	extra                              [][2]string // headers
	attachment                         *attachment
}

// build makes the mail: an HTML body, and the recording beside it.
func (c *call) build(k content) (Message, error) {
	f := &c.w.conf.Profile.Message
	m := Message{Kind: k.kind, From: k.from.Address, To: k.to.Address, Call: c.session}
	var b bytes.Buffer
	head := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", name, clean(value))
		}
	}
	head("From", (&mail.Address{Name: k.from.Name, Address: k.from.Address}).String())
	head("To", (&mail.Address{Name: k.to.Name, Address: k.to.Address}).String())
	head("Subject", mime.QEncoding.Encode("utf-8", k.subject))
	head("Date", time.Now().Format(time.RFC1123Z))
	head("Message-ID", fmt.Sprintf("<%016x%016x@%s>", c.w.conf.Rand(), c.w.conf.Rand(), c.w.conf.Server.FQDN))
	head("MIME-Version", "1.0")
	head("Content-Class", k.class)
	head(f.CallerHeader, k.from.Number)
	for _, x := range k.extra {
		head(x[0], mime.QEncoding.Encode("utf-8", x[1]))
	}
	head(f.CallHeader, c.callID)
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary(fmt.Sprintf("_%016x%016x_", c.w.conf.Rand(), c.w.conf.Rand())); err != nil {
		return m, err
	}
	head("Content-Type", fmt.Sprintf(`multipart/mixed; boundary="%s"`, w.Boundary()))
	b.WriteString("\r\n")
	if err := k.writeBody(w); err != nil {
		return m, err
	}
	if k.attachment != nil {
		if err := writeAttachment(w, k.attachment); err != nil {
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
{{if .Text}}<p>{{.Text}}</p>
{{end}}<table>
<tr><td>Caller:</td><td>{{.Caller.Name}}</td></tr>
{{if .Caller.Number}}<tr><td>Number:</td><td>{{.Caller.Number}}</td></tr>
{{end}}<tr><td>Called:</td><td>{{.Called}}</td></tr>
{{if .Length}}<tr><td>Length:</td><td>{{.Length}}</td></tr>
{{end}}</table>
</body></html>
`))

func (k *content) writeBody(w *multipart.Writer) error {
	part, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {"text/html; charset=utf-8"},
		"Content-Transfer-Encoding": {"quoted-printable"},
	})
	if err != nil {
		return err
	}
	q := quotedprintable.NewWriter(part)
	err = body.Execute(q, map[string]any{
		"Subject": k.subject, "Caller": k.from, "Length": k.length, "Text": k.text,
		"Called": k.to.Name + " (" + k.to.Extension + ")",
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
