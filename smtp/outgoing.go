package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// Outgoing is a message that is sent.
type Outgoing struct {
	From string
	To   []string
	Size int64
	Data func() io.Reader // from its beginning
	// Binary says that it has lines of any length and octets, Eight that it has
	// octets beyond US-ASCII, UTF8 that an address has.
	Binary, Eight, UTF8 bool
}

// Way is how a message is sent, where the server offers it.
type Way struct{ Pipelining, Chunking, Size bool }

// ErrBody is a body that the next hop does not take.
var ErrBody = errors.New("smtp: the server does not offer to take such a body")

// ErrUTF8 is an address that the next hop does not take.
var ErrUTF8 = errors.New("smtp: the server does not offer SMTPUTF8")

// Send sends a message to those who take it. The error of each recipient is in
// refused; err is that of the message, and then no recipient has it.
func (c *Client) Send(m *Outgoing, way Way) (queued Answer, refused map[string]error, err error) {
	mail, chunked, err := c.mail(m, way)
	if err != nil {
		return queued, nil, err
	}
	lines := []string{mail}
	for _, to := range m.To {
		lines = append(lines, "RCPT TO:<"+to+">")
	}
	_, pipelined := c.offers["PIPELINING"]
	answers, err := c.batch(lines, way.Pipelining && pipelined)
	if err != nil {
		return queued, nil, err
	}
	if answers[0].Code != 250 {
		return queued, nil, &Refused{"MAIL", answers[0]}
	}
	refused = map[string]error{}
	taken := 0
	for i, to := range m.To {
		if a := answers[i+1]; a.Code != 250 && a.Code != 251 {
			refused[to] = &Refused{"RCPT", a}
		} else {
			taken++
		}
	}
	if taken == 0 {
		return queued, refused, c.command(250, "RSET", "")
	}
	queued, err = c.content(m, chunked)
	if err == nil && queued.Code != 250 {
		err = &Refused{"DATA", queued}
	}
	return queued, refused, err
}

// mail is the command MAIL, and whether the message goes in chunks.
func (c *Client) mail(m *Outgoing, way Way) (line string, chunked bool, err error) {
	_, chunking := c.offers["CHUNKING"]
	_, binary := c.offers["BINARYMIME"]
	_, eight := c.offers["8BITMIME"]
	_, utf8 := c.offers["SMTPUTF8"]
	chunked = way.Chunking && chunking
	line = "MAIL FROM:<" + m.From + ">"
	if _, ok := c.offers["SIZE"]; ok && way.Size {
		line += " SIZE=" + strconv.FormatInt(m.Size, 10)
	}
	switch {
	case m.Binary && (!binary || !chunked), m.Eight && !eight && !binary:
		return "", false, ErrBody
	case m.Binary:
		line += " BODY=BINARYMIME"
	case m.Eight:
		line += " BODY=8BITMIME"
	}
	if m.UTF8 {
		if !utf8 {
			return "", false, ErrUTF8
		}
		line += " SMTPUTF8"
	}
	return line, chunked, nil
}

// batch says commands, and returns their answers: all at once where that is
// agreed on (RFC 2920).
func (c *Client) batch(lines []string, together bool) (answers []Answer, err error) {
	for i, l := range lines {
		if err := c.say(l); err != nil {
			return nil, err
		}
		if together && i < len(lines)-1 {
			continue
		}
		for len(c.waits) > 0 {
			a, err := c.await()
			if err != nil {
				return nil, err
			}
			answers = append(answers, a)
		}
		if !together && i == 0 && answers[0].Code != 250 {
			for range lines[1:] {
				answers = append(answers, answers[0])
			}
			return answers, nil
		}
	}
	return answers, nil
}

// content sends the message: in one chunk, or line by line behind DATA.
func (c *Client) content(m *Outgoing, chunked bool) (Answer, error) {
	if chunked {
		if err := c.say("BDAT " + strconv.FormatInt(m.Size, 10) + " LAST"); err != nil {
			return Answer{}, err
		}
		if err := c.pour(c.w, m); err != nil {
			return Answer{}, err
		}
		return c.await()
	}
	if err := c.command(354, "DATA", ""); err != nil {
		return Answer{}, err
	}
	d := &dotWriter{w: c.w, lineStart: true}
	if err := c.pour(d, m); err != nil {
		return Answer{}, err
	}
	if err := d.end(); err != nil {
		return Answer{}, err
	}
	c.waits = append(c.waits, "DATA")
	return c.await()
}

func (c *Client) pour(w io.Writer, m *Outgoing) error {
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.conf.Reply))
	n, err := io.Copy(w, m.Data())
	if err == nil {
		c.conf.Trace.Record(c.conf.Session, trace.Session{}, poured{n}, nil)
	}
	return err
}

// dotWriter makes text of DATA: a line that begins with a full stop has another
// before it, and a line end of any form is CRLF, so that nothing within a
// message can end it for a server that takes other ends (RFC 5321 §4.5.2).
type dotWriter struct {
	w         *bufio.Writer
	lineStart bool
	cr        bool
}

func (d *dotWriter) Write(b []byte) (int, error) {
	for i := 0; i < len(b); {
		n := bytes.IndexAny(b[i:], "\r\n")
		stretch := b[i:]
		if n >= 0 {
			stretch = b[i : i+n]
		}
		if len(stretch) > 0 {
			if err := d.text(stretch); err != nil {
				return 0, err
			}
			i += len(stretch)
			continue
		}
		if err := d.lineEnd(b[i]); err != nil {
			return 0, err
		}
		i++
	}
	return len(b), nil
}

func (d *dotWriter) text(b []byte) error {
	if d.cr { // a carriage return alone
		if _, err := d.w.WriteString("\r\n"); err != nil {
			return err
		}
		d.lineStart, d.cr = true, false
	}
	if d.lineStart && b[0] == '.' {
		if err := d.w.WriteByte('.'); err != nil {
			return err
		}
	}
	d.lineStart = false
	_, err := d.w.Write(b)
	return err
}

func (d *dotWriter) lineEnd(b byte) error {
	if b == '\r' && !d.cr {
		d.cr = true
		return nil
	}
	d.cr = b == '\r'
	d.lineStart = true
	_, err := d.w.WriteString("\r\n")
	return err
}

func (d *dotWriter) end() error {
	if d.cr || !d.lineStart {
		if _, err := d.w.WriteString("\r\n"); err != nil {
			return err
		}
	}
	_, err := d.w.WriteString(".\r\n")
	return err
}
