package mailhost

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	gosmtp "github.com/emersion/go-smtp"
)

// startTLS says STARTTLS on a connection that was greeted, shakes hands, and
// greets anew. go-smtp's client begins TLS only on a connection of its own,
// under the name localhost; here the host's name stands in both greetings.
func startTLS(nc net.Conn, hello string, conf *tls.Config) (*gosmtp.Client, error) {
	if _, err := io.WriteString(nc, "STARTTLS\r\n"); err != nil {
		return nil, err
	}
	reply, err := line(nc)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(reply, "220") {
		code, _ := strconv.Atoi(reply[:min(3, len(reply))])
		return nil, &gosmtp.SMTPError{Code: code, EnhancedCode: gosmtp.NoEnhancedCode, Message: "STARTTLS was answered: " + reply}
	}
	secure := tls.Client(nc, conf)
	if err := secure.Handshake(); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	c := gosmtp.NewClient(&greeted{secure, strings.NewReader("220 TLS\r\n")})
	return c, c.Hello(hello)
}

// line reads one line and nothing behind it.
func line(nc net.Conn) (string, error) {
	var text []byte
	for b := make([]byte, 1); len(text) < 1024; {
		if _, err := nc.Read(b); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			break
		}
		text = append(text, b[0])
	}
	return strings.TrimRight(string(text), "\r"), nil
}

// greeted is a connection whose banner was said before TLS began: go-smtp
// waits for one.
type greeted struct {
	net.Conn
	banner io.Reader
}

func (g *greeted) Read(b []byte) (int, error) {
	if n, _ := g.banner.Read(b); n > 0 {
		return n, nil
	}
	return g.Conn.Read(b)
}
