// Package integrity compares what one end sent with what the other received and
// names each change: what was changed, how bad that is, and what usually does
// it.
package integrity

import (
	"bytes"

	"github.com/exsim/exsim/sim/paths/record"
)

// Rating says how bad a change is.
type Rating string

// The ratings, from the mildest.
const (
	Harmless Rating = "harmless"
	Risky    Rating = "risky"
	Breaking Rating = "breaking"
)

// Change is one difference between what left one end and what reached the
// other.
type Change struct {
	What   string // as Via, STARTTLS, certificate
	Way    string // out, or back
	Sent   string
	Got    string // "" if it is gone
	Rating Rating
	Means  string // what it does to a call or a mail
	By     string // what usually does it
}

// Compare finds the changes of a dialogue in a protocol: SIP, SMTP or other.
// near is what the connecting end kept, far what the listening one did.
func Compare(protocol string, near, far *record.Stream) []Change {
	var list []Change
	list = append(list, compareTLS(near.TLS, far.TLS)...)
	received := far.Received
	if line, rest, ok := bytes.Cut(received, []byte("\r\n")); ok && bytes.HasPrefix(line, []byte("PROXY ")) {
		list = append(list, Change{What: "PROXY line", Way: "out", Got: string(line), Rating: Breaking,
			Means: "the server takes it for the first line of the protocol", By: "a proxy (HAProxy, nginx) that is set to announce the client's address"})
		received = rest
	}
	switch protocol {
	case "SIP":
		list = append(list, sipWay("out", near.Sent, received)...)
		list = append(list, sipWay("back", far.Sent, near.Received)...)
	case "SMTP", "SMTP submission":
		list = append(list, smtpWay("out", clear(near.Sent), clear(received))...)
		list = append(list, smtpWay("back", clear(far.Sent), clear(near.Received))...)
	}
	return list
}

// clear is what was said before TLS began.
func clear(b []byte) []byte {
	if i := bytes.Index(b, []byte{0x16, 0x03}); i >= 0 {
		return b[:i]
	}
	return b
}

// compareTLS holds what both ends saw of a handshake against one another.
func compareTLS(near, far *record.TLS) []Change {
	if near == nil || far == nil || near.Error != "" || far.Error != "" {
		return nil
	}
	const proxy = "TLS inspection (a proxy that decrypts)"
	var list []Change
	if far.Own != near.Peer {
		list = append(list, Change{What: "certificate", Way: "back", Sent: far.Own, Got: near.Peer + " issued by " + near.Issuer, Rating: Breaking,
			Means: "mutual TLS ends at the one in between, and whoever checks the certificate hangs up", By: proxy})
	}
	if near.Own != "" && far.Peer != "" && near.Own != far.Peer {
		list = append(list, Change{What: "client certificate", Way: "out", Sent: near.Own, Got: far.Peer, Rating: Breaking,
			Means: "the server sees another peer than the one that calls", By: proxy})
	}
	for _, x := range []struct{ what, a, b string }{{"TLS version", near.Version, far.Version}, {"cipher suite", near.Suite, far.Suite}, {"ALPN", near.ALPN, far.ALPN}} {
		if x.a != x.b {
			list = append(list, Change{What: x.what, Way: "out", Sent: x.a, Got: x.b, Rating: Risky, Means: "two handshakes were made where one was meant", By: proxy})
		}
	}
	return list
}
