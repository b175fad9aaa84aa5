package smtp

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gosasl "github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/trace"
)

// gate is a back end that asks for a word.
type gate struct{ backend }

func (g *gate) Session(Peer) (gosmtp.Session, error) {
	return &knocking{session: session{b: &g.backend}}, nil
}

type knocking struct {
	session
	user string
}

func (k *knocking) User() string { return k.user }

func (k *knocking) Authenticate(verb, mechanism string) (gosasl.Server, error) {
	if mechanism == "GSSAPI" {
		return nil, errors.New("no keys")
	}
	return &word{k: k, who: verb}, nil
}

type word struct {
	k   *knocking
	who string
}

func (w *word) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case response == nil:
		return []byte("word?"), false, nil
	case string(response) == "sesame":
		w.k.user = w.who
		return nil, true, nil
	}
	return nil, false, errors.New("wrong word")
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func gated() Config {
	conf := testConfig(nil)
	conf.Backend = &gate{}
	conf.Replies["ntlm-supported"] = "334 NTLM supported"
	return conf
}

// Log-ons in every form; nothing of them is in the trace.
func TestAuth(t *testing.T) {
	log := trace.New(trace.Config{})
	defer log.Close()
	conf := gated()
	conf.Trace, conf.MaxLogons = log.Source("mbx1", "default"), 3
	at := serve(t, conf)
	good, bad := b64("sesame"), b64("open sesame")

	c := dial(t, at)
	c.talk("AUTH NTLM", "503 send-hello", "EHLO c", hello, "AUTH PLAIN "+good, "504 unknown-mechanism", good, "500 unrecognized",
		"AUTH NTLM", "334 NTLM supported", "*", "501 auth-cancelled",
		"AUTH NTLM", "334 NTLM supported", "%%%", "501 invalid-arguments",
		"AUTH NTLM "+good, "235 auth-ok", "AUTH NTLM "+good, "503 bad-sequence", "MAIL FROM:<a@x.lab>", "250 sender-ok", "QUIT", "221 quit")

	c = dial(t, at)
	c.talk("EHLO c", hello, "X-EXPS NTLM", "334 NTLM supported", good, "235 auth-ok", "QUIT", "221 quit")

	c = dial(t, at)
	c.talk("EHLO c", hello, "X-EXPS GSSAPI", "535 auth-failed", "AUTH NTLM =", "535 auth-failed", "AUTH NTLM "+bad, "535 auth-failed")
	require.Equal(t, "421 too-many-logon-failures", c.reply())

	var said strings.Builder
	who := ""
	for e := range log.Events() {
		said.Write(e.Raw)
		if e.Name == "smtp.authenticated" {
			who += e.Text("mechanism") + " " + e.Text("user") + "|"
		}
	}
	require.Equal(t, "NTLM AUTH|NTLM X-EXPS|", who)
	require.NotContains(t, said.String(), good)
	require.NotContains(t, said.String(), bad)
	require.Contains(t, said.String(), "AUTH NTLM <authentication response>")
}

// timed runs a session in virtual time, and tells when each reply came.
func timed(t *testing.T, conf Config, session func(say func(text string, replies int) string)) {
	t.Helper()
	s, err := New(conf)
	require.NoError(t, err)
	timedAt(t, s, session)
}

func timedAt(t *testing.T, s *Server, session func(say func(text string, replies int) string)) {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		c := newConn(s, ours)
		c.serve("")
		c.finish()
		close(done)
	}()
	r := bufio.NewReader(theirs)
	begin := time.Now()
	session(func(text string, replies int) string {
		if text != "" { // a pipe delivers nothing, too
			go func() { _, _ = theirs.Write([]byte(text)) }()
		}
		var got []string
		for range replies {
			l, err := r.ReadString('\n')
			if err != nil {
				got = append(got, "closed")
				break
			}
			got = append(got, time.Since(begin).String()+" "+strings.TrimSpace(l))
		}
		return strings.Join(got, ", ")
	})
	_ = theirs.Close()
	<-done
}

// Refusals come five seconds later until the peer has logged on, all of a
// pipelined batch together; a failed log-on has an interval of its own.
func TestTarpit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conf := gated()
		conf.Tarpit, conf.AuthTarpit = 5*time.Second, 3*time.Second
		timed(t, conf, func(say func(string, int) string) {
			require.Equal(t, "0s 220 mbx1 ready", say("", 1))
			say("HELO c\r\n", 1)
			require.Equal(t, "5s 250 sender-ok, 5s 550 user-unknown, 5s 550 user-unknown",
				say("MAIL FROM:<a@x.lab>\r\nRCPT TO:<unknown1@x.lab>\r\nRCPT TO:<unknown2@x.lab>\r\n", 3))
			require.Equal(t, "5s 250 recipient-ok", say("RCPT TO:<b@x.lab>\r\n", 1))
			say("RSET\r\nEHLO c\r\n", 12)
			require.Equal(t, "8s 535 auth-failed", say("AUTH NTLM "+b64("no")+"\r\n", 1))
			require.Equal(t, "8s 235 auth-ok", say("AUTH NTLM "+b64("sesame")+"\r\n", 1))
			require.Equal(t, "8s 500 unrecognized", say("FOO\r\n", 1))
		})
	})
}

// Chunks before the last are delayed where the profile says so, and an address
// that goes away while it is delayed is mistrusted from then on.
func TestTarpitOfOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conf := testConfig(&backend{})
		conf.Tarpit, conf.TarpitChunks, conf.Discredit = 5*time.Second, true, true
		s, err := New(conf)
		require.NoError(t, err)
		timedAt(t, s, func(say func(string, int) string) {
			say("", 1)
			say("EHLO c\r\n", 11)
			say("MAIL FROM:<a@x.lab>\r\nRCPT TO:<b@x.lab>\r\n", 2)
			require.Equal(t, "5s 250 chunk", say("BDAT 2\r\nab", 1))
			require.Equal(t, "5s 250 queued", say("BDAT 2 LAST\r\ncd", 1))
			require.Equal(t, "10s 500 unrecognized", say("FOO\r\n", 1), "the peer stays, and is trusted")
		})
		timedAt(t, s, func(say func(string, int) string) {
			require.Equal(t, "0s 220 mbx1 ready", say("", 1))
			say("FOO\r\n", 0)
			time.Sleep(time.Second)
		})
		timedAt(t, s, func(say func(string, int) string) {
			require.Equal(t, "5s 220 mbx1 ready", say("", 1))
			require.Equal(t, "10s 250 noop", say("NOOP\r\n", 1))
		})
	})
}

// The connections of one address are counted, and another address has its own.
func TestPerSource(t *testing.T) {
	conf := testConfig(&backend{})
	conf.MaxPerSource = 2
	at := serve(t, conf)
	dial(t, at)
	second := dial(t, at)
	from := func(ip string) (string, net.Conn) {
		nc, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}).Dial("tcp", at)
		require.NoError(t, err)
		line, err := bufio.NewReader(nc).ReadString('\n')
		require.NoError(t, err)
		return strings.TrimSpace(line), nc
	}
	line, third := from("127.0.0.1")
	require.Equal(t, "421 too-many-from-source", line)
	require.NoError(t, third.Close())
	line, other := from("127.0.0.2")
	require.Equal(t, "220 mbx1 ready", line)
	require.NoError(t, other.Close())
	second.talk("QUIT", "221 quit")
	require.Eventually(t, func() bool {
		line, nc := from("127.0.0.1")
		_ = nc.Close()
		return line == "220 mbx1 ready"
	}, 5*time.Second, 10*time.Millisecond)
}

// What is asked of addresses, names and line ends.
func TestStrict(t *testing.T) {
	conf := testConfig(&backend{})
	conf.RequireDomain, conf.NoBareLinefeed, conf.LongAddresses = true, true, true
	c := dial(t, serve(t, conf))
	long := strings.Repeat("a", 1700)
	c.talk("EHLO", "501 invalid-domain", "EHLO c", hello, "MAIL FROM:<"+long+"@x.lab>", "250 sender-ok", "RCPT TO:<ü@x.lab>", "550 smtputf8-required",
		"RCPT TO:<b@x.lab>", "250 recipient-ok", "DATA", "354 start-data", "a\nb\r\n.", "550 bare-linefeed",
		"MAIL FROM:<a@x.lab>", "250 sender-ok", "RCPT TO:<b@x.lab>", "250 recipient-ok", "DATA", "354 start-data", "a\r\n.", "250 queued")
	require.Len(t, conf.Backend.(*backend).got(), 1)
}

// What follows STARTTLS in clear is not executed behind the handshake, also
// where the answer to STARTTLS was held back.
func TestInjection(t *testing.T) {
	log := trace.New(trace.Config{})
	defer log.Close()
	cert := selfSigned(t)
	conf := testConfig(&backend{})
	conf.TLS, conf.Trace = &tls.Config{Certificates: []tls.Certificate{cert}}, log.Source("mbx1", "default")
	conf.Tarpit, conf.Discredit = 300*time.Millisecond, true
	c := dial(t, serve(t, conf))
	c.talk("EHLO c", hello)
	c.send("BOGUS\r\nSTARTTLS\r\n")
	for e := range log.Follow(t.Context()) {
		if e.Name == "smtp.sent" && e.Text("verb") == "STARTTLS" { // it is held back now
			break
		}
	}
	c.send("EHLO injected\r\nMAIL FROM:<evil@x.lab>\r\n")
	require.Equal(t, "500 unrecognized", c.reply())
	require.Equal(t, "220 start-tls", c.reply())
	c.secure(cert)
	c.talk("NOOP", "250 noop", "MAIL FROM:<a@x.lab>", "503 send-hello")
}

// A client that does not wait for the answer to AUTH leaves nothing in the trace.
func TestPipelinedSecrets(t *testing.T) {
	log := trace.New(trace.Config{})
	defer log.Close()
	conf := gated()
	conf.Trace = log.Source("mbx1", "default")
	conf.Replies[ReplyUnrecognized] = "500 no {verb}"
	c := dial(t, serve(t, conf))
	c.talk("EHLO c", hello)
	c.send("AUTH LOGIN\r\nYWRh\r\nc2VjcmV0\r\nAUTH\tLOGIN\tc2VjcmV0\r\nNOOP\r\n")
	for _, want := range []string{"504 unknown-mechanism", "500 no ", "500 no ", "504 unknown-mechanism", "250 noop"} {
		require.Equal(t, want, c.reply())
	}
	for e := range log.Events() {
		for _, f := range e.Fields {
			require.NotContains(t, strings.ToUpper(fmt.Sprint(f.Value)), "C2VJCMV0")
		}
		require.NotContains(t, strings.ToUpper(string(e.Raw)), "C2VJCMV0")
	}
}

// Control octets are in no address and no name: they would be line ends where
// the message goes.
func TestControlOctets(t *testing.T) {
	c := dial(t, serve(t, testConfig(&backend{})))
	c.talk("EHLO [a\rb]", "501 invalid-domain", "EHLO c", hello, "MAIL FROM:<\"a\rb\"@x.lab>", "501 invalid-address", "MAIL FROM:<a@x.lab>", "250 sender-ok")
}
