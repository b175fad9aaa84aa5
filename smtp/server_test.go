package smtp

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/exsim/exsim/sim/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend keeps what it is given.
type backend struct {
	mu       sync.Mutex
	messages []message
}

type message struct {
	from string
	to   []string
	data string
	opts gosmtp.MailOptions
}

func (b *backend) Session(Peer) (gosmtp.Session, error) { return &session{b: b}, nil }

type session struct {
	b *backend
	m message
}

func (s *session) Reset()        { s.m = message{} }
func (s *session) Logout() error { return nil }
func (s *session) Mail(from string, o *gosmtp.MailOptions) error {
	s.m = message{from: from, opts: *o}
	return nil
}

func (s *session) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	switch {
	case strings.HasPrefix(to, "unknown"):
		return &Refusal{Reply: "user-unknown"}
	case strings.HasPrefix(to, "broken"):
		return errors.New("a secret of the disk")
	}
	s.m.to = append(s.m.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.m.data = string(b)
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.messages = append(s.b.messages, s.m)
	return nil
}

func (b *backend) got() []message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]message{}, b.messages...)
}

// replies spell each name as a code and the name.
func replies() map[Reply]string {
	codes := map[Reply]int{
		ReplyTooManyConnections: 421, ReplyStartTLS: 220, ReplySenderOK: 250, ReplyRecipientOK: 250, ReplyStartData: 354,
		ReplyQueued: 250, ReplyChunk: 250, ReplyQuit: 221, ReplyReset: 250, ReplyNoop: 250, ReplyVrfy: 252, ReplyHelp: 214,
		ReplyInvalidDomain: 501, ReplyInvalidArguments: 501, ReplyInvalidAddress: 501, ReplyUnknownMechanism: 504,
		ReplyAuthUnavailable: 454, ReplyTooManyRecipients: 452, ReplyTooBig: 552, ReplyInsufficient: 452,
		ReplyTimeoutInput: 451, ReplyTimeoutSession: 421, ReplyTooManyErrors: 421, ReplyShutdown: 421, "user-unknown": 550,
		ReplyUnrecognized: 500, ReplyLineTooLong: 500, ReplyAuthOK: 235, ReplyAuthFailed: 535, ReplyAuthCancelled: 501,
		ReplyTooManyLogons: 421, ReplyTooManyFromSource: 421, ReplyBareLinefeed: 550, ReplyUTF8Required: 550,
	}
	m := map[Reply]string{}
	for _, name := range append(Required(), "user-unknown") {
		code := codes[name]
		if code == 0 {
			code = 503
		}
		m[name] = fmt.Sprintf("%d %s", code, name)
	}
	return m
}

func testConfig(b *backend) Config {
	return Config{
		Backend: b, Replies: replies(), MaxMessageSize: 100 << 10, MaxRecipients: 3, MaxErrors: 50,
		Banner: func(time.Time) string { return "mbx1 ready" },
		Hello:  func(ip netip.Addr) string { return "mbx1 Hello [" + ip.String() + "]" },
		Keywords: func(secured string) []string {
			k := []string{"SIZE 102400", "PIPELINING", "DSN", "8BITMIME", "BINARYMIME", "CHUNKING", "AUTH NTLM", "X-EXPS GSSAPI NTLM"}
			if secured == "" {
				k = append(k, "STARTTLS", "X-ANONYMOUSTLS")
			}
			return k
		},
	}
}

func serve(t *testing.T, conf Config) string {
	t.Helper()
	s, err := New(conf)
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(ln) })
	t.Cleanup(func() { require.NoError(t, s.Close()); wg.Wait() })
	return ln.Addr().String()
}

type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	k := &client{t, c, bufio.NewReader(c)}
	require.Equal(t, "220 mbx1 ready", k.reply())
	return k
}

// reply reads one reply, its lines joined by |.
func (c *client) reply() string {
	c.t.Helper()
	require.NoError(c.t, c.conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	var lines []string
	for {
		l, err := c.r.ReadString('\n')
		require.NoError(c.t, err, "%v", lines)
		lines = append(lines, strings.TrimRight(l, "\r\n"))
		if len(l) < 4 || l[3] != '-' {
			return strings.Join(lines, "|")
		}
	}
}

func (c *client) send(text string) {
	c.t.Helper()
	_, err := c.conn.Write([]byte(text))
	require.NoError(c.t, err)
}

// talk sends lines and wants the replies.
func (c *client) talk(pairs ...string) {
	c.t.Helper()
	for i := 0; i+1 < len(pairs); i += 2 {
		c.send(pairs[i] + "\r\n")
		require.Equal(c.t, pairs[i+1], c.reply(), pairs[i])
	}
}

const hello = "250-mbx1 Hello [127.0.0.1]|250-SIZE 102400|250-PIPELINING|250-DSN|250-8BITMIME|250-BINARYMIME|250-CHUNKING|250-AUTH NTLM|250-X-EXPS GSSAPI NTLM|250-STARTTLS|250 X-ANONYMOUSTLS"

// Sequence and syntax (RFC 5321 §4.1.4), each refusal by its name.
func TestSequence(t *testing.T) {
	c := dial(t, serve(t, testConfig(&backend{})))
	c.talk(
		"MAIL FROM:<a@b>", "503 send-hello",
		"RCPT TO:<a@b>", "503 send-hello",
		"EHLO bad_name", "501 invalid-domain",
		"EHLO bad.", "501 invalid-domain",
		"EHLO", hello,
		"ehlo gw.lab", hello,
		"RCPT TO:<a@b>", "503 need-mail",
		"DATA", "503 need-mail",
		"MAIL FROM:a@b", "501 invalid-address",
		"MAIL FROM:<a@b", "501 invalid-address",
		"MAIL FROM:<a b@c>", "501 invalid-address",
		"MAIL TO:<a@b>", "501 invalid-arguments",
		"MAIL FROM:<a@b> FROB=1", "501 invalid-arguments",
		"MAIL FROM:<a@b> SIZE=-1", "501 invalid-arguments",
		"MAIL FROM:<a@b> SMTPUTF8", "501 invalid-arguments",
		"MAIL FROM:<a@b> SIZE=102401", "552 too-big",
		"MAIL FROM:<> SIZE=10 BODY=8BITMIME RET=HDRS ENVID=x+2By", "250 sender-ok",
		"MAIL FROM:<a@b>", "503 sender-specified",
		"DATA", "503 need-rcpt",
		"RCPT TO:<>", "501 invalid-address",
		"RCPT TO:<a@b> NOTIFY=NEVER,DELAY", "501 invalid-arguments",
		"RCPT TO:<unknown@b>", "550 user-unknown",
		"RCPT TO:<broken@b>", "452 insufficient-resources",
		`RCPT TO:<@relay:"a b"@c> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b`, "250 recipient-ok",
		"RCPT TO:<postmaster>", "250 recipient-ok",
		"RCPT TO:<c@b>", "250 recipient-ok",
		"RCPT TO:<d@b>", "452 too-many-recipients",
		"RSET", "250 reset",
		"RCPT TO:<a@b>", "503 need-mail",
		"AUTH NTLM", "454 auth-unavailable",
		"AUTH PLAIN", "504 unknown-mechanism",
		"X-EXPS GSSAPI", "454 auth-unavailable",
		"EXPN list", "500 unrecognized",
		"VRFY a", "252 vrfy", "HELP", "214 help", "NOOP", "250 noop",
		"MAIL FROM:<a@b> BODY=BINARYMIME", "250 sender-ok",
		"RCPT TO:<c@b>", "250 recipient-ok",
		"DATA", "503 bad-sequence",
		"QUIT", "221 quit",
	)
}

// The end of data is CRLF.CRLF alone, and dots are unstuffed, wherever the
// segments are cut.
func TestData(t *testing.T) {
	b := &backend{}
	addr := serve(t, testConfig(b))
	body := "a\r\n..b\r\n\n.\n.\r.\r\n.c\n..\r\n...\r\n"
	want := "a\r\n.b\r\n\n.\n.\r.\r\nc\n..\r\n..\r\n"
	for _, size := range []int{1, 2, 3, 1000} {
		c := dial(t, addr)
		c.talk("EHLO x", hello, "MAIL FROM:<a@b>", "250 sender-ok", "RCPT TO:<c@d>", "250 recipient-ok", "DATA", "354 start-data")
		for rest := body + ".\r\n"; rest != ""; {
			n := min(size, len(rest))
			c.send(rest[:n])
			rest = rest[n:]
		}
		require.Equal(t, "250 queued", c.reply())
		c.talk("NOOP", "250 noop")
		got := b.got()
		require.Equal(t, want, got[len(got)-1].data)
	}
}

// A message of any length around the buffers' sizes arrives whole.
func TestDataAtBufferEdges(t *testing.T) {
	b := &backend{}
	c := dial(t, serve(t, testConfig(b)))
	c.talk("EHLO x", hello)
	for _, n := range []int{32766, 32767, 32768, 32769, 65534, 65535, 65536, 65537} {
		c.talk("MAIL FROM:<a@b>", "250 sender-ok", "RCPT TO:<c@d>", "250 recipient-ok", "DATA", "354 start-data")
		text := strings.Repeat("x", n-1) + "\r\n..y\r\n"
		c.send(text + ".\r\nNOOP\r\n")
		require.Equal(t, "250 queued", c.reply())
		require.Equal(t, "250 noop", c.reply())
		got := b.got()
		require.Equal(t, strings.Replace(text, "..", ".", 1), got[len(got)-1].data, "%d octets before the line end", n)
	}
}

// Too big, announced or not: refused, and the session goes on.
func TestTooBig(t *testing.T) {
	b := &backend{}
	addr := serve(t, testConfig(b))
	c := dial(t, addr)
	c.talk("EHLO x", hello, "MAIL FROM:<a@b>", "250 sender-ok", "RCPT TO:<c@d>", "250 recipient-ok", "DATA", "354 start-data")
	c.send(strings.Repeat("0123456789\r\n", 20000) + ".\r\n")
	require.Equal(t, "552 too-big", c.reply())
	c.talk("MAIL FROM:<a@b>", "250 sender-ok", "RCPT TO:<c@d>", "250 recipient-ok")
	c.send("BDAT 200000\r\n" + strings.Repeat("x", 200000))
	require.Equal(t, "250 chunk", c.reply())
	c.talk("BDAT 0 LAST", "552 too-big", "NOOP", "250 noop")

	// A message that breaks off is stored by nobody.
	for _, size := range []int{100, 200000} {
		c := dial(t, addr)
		c.talk("EHLO x", hello, "MAIL FROM:<a@b>", "250 sender-ok", "RCPT TO:<c@d>", "250 recipient-ok", "DATA", "354 start-data")
		c.send(strings.Repeat("x", size))
		c.conn.Close()
	}
	last := dial(t, addr)
	last.talk("QUIT", "221 quit")
	require.Empty(t, b.got())
}

// Pipelined commands are answered in order, in few segments (RFC 2920).
func TestPipelining(t *testing.T) {
	b := &backend{}
	c := dial(t, serve(t, testConfig(b)))
	c.talk("EHLO x", hello)
	c.send("MAIL FROM:<a@b>\r\nRCPT TO:<unknown@d>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
	for _, want := range []string{"250 sender-ok", "550 user-unknown", "250 recipient-ok", "354 start-data"} {
		require.Equal(t, want, c.reply())
	}
	c.send("hi\r\n.\r\nQUIT\r\n")
	require.Equal(t, "250 queued", c.reply())
	require.Equal(t, "221 quit", c.reply())
	require.Equal(t, []string{"c@d"}, b.got()[0].to)
}

// Chunks (RFC 3030): joined, one answer each, refused ones consumed.
func TestBDAT(t *testing.T) {
	b := &backend{}
	c := dial(t, serve(t, testConfig(b)))
	c.talk("EHLO x", hello)
	c.send("BDAT 6\r\nQUIT\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nBDAT 6\r\nQUIT\r\nRCPT TO:<c@d>\r\nBDAT 4\r\n\r\n.\rBDAT 3 LAST\r\n\n\x00y")
	for _, want := range []string{"503 need-mail", "250 sender-ok", "503 need-rcpt", "250 recipient-ok", "250 chunk", "250 queued"} {
		require.Equal(t, want, c.reply())
	}
	require.Equal(t, "\r\n.\r\n\x00y", b.got()[0].data)
	c.talk("MAIL FROM:<a@b>", "250 sender-ok", "RCPT TO:<c@d>", "250 recipient-ok")
	c.send("BDAT 3\r\nabc")
	require.Equal(t, "250 chunk", c.reply())
	c.talk("DATA", "503 bad-sequence", "RSET", "250 reset", "NOOP", "250 noop")
	require.Len(t, b.got(), 1)
	c.send("BDAT x\r\n")
	require.Equal(t, "501 invalid-arguments", c.reply())
	_, err := c.r.ReadByte()
	require.ErrorIs(t, err, io.EOF, "a chunk without a size cannot be skipped")
}

// Behind STARTTLS nothing said before counts, also not what was sent in the
// same segment (RFC 3207 §4.2).
func TestStartTLS(t *testing.T) {
	cert := selfSigned(t)
	conf := testConfig(&backend{})
	conf.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	c := dial(t, serve(t, conf))
	c.talk("EHLO x", hello, "STARTTLS now", "501 invalid-arguments")
	c.send("MAIL FROM:<a@b>\r\nSTARTTLS\r\nRCPT TO:<injected@d>\r\n")
	require.Equal(t, "250 sender-ok", c.reply())
	require.Equal(t, "220 start-tls", c.reply())
	c.secure(cert)
	c.talk("MAIL FROM:<a@b>", "503 send-hello", "STARTTLS", "500 unrecognized",
		"EHLO x", strings.Replace(hello, "250-X-EXPS GSSAPI NTLM|250-STARTTLS|250 X-ANONYMOUSTLS", "250 X-EXPS GSSAPI NTLM", 1), "QUIT", "221 quit")
}

// secure shakes hands with a server that shows a certificate.
func (c *client) secure(cert tls.Certificate) {
	c.t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(cert.Leaf)
	t := tls.Client(c.conn, &tls.Config{RootCAs: pool, ServerName: "mbx1"})
	require.NoError(c.t, t.Handshake())
	c.conn, c.r = t, bufio.NewReader(t)
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mbx1"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// Limits: errors, connections, long lines, idle peers (in the bubble's time).
func TestLimits(t *testing.T) {
	conf := testConfig(&backend{})
	conf.MaxErrors, conf.MaxConnections = 3, 1
	addr := serve(t, conf)
	c := dial(t, addr)
	second, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer second.Close()
	line, err := bufio.NewReader(second).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "421 too-many-connections\r\n", line)
	c.send(strings.Repeat("x", 3*maxLine) + "\r\nNOOP\r\nFOO\r\nFOO\r\n")
	for _, want := range []string{"500 line-too-long", "250 noop", "500 unrecognized", "500 unrecognized", "421 too-many-errors"} {
		require.Equal(t, want, c.reply())
	}
}

func TestTimeouts(t *testing.T) {
	for name, want := range map[string]string{"idle": "451 timeout-input", "busy": "421 timeout-session"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conf := testConfig(&backend{})
				conf.Inactivity, conf.Session = 5*time.Minute, 10*time.Minute
				s, err := New(conf)
				require.NoError(t, err)
				ours, theirs := net.Pipe()
				c := newConn(s, ours)
				go func() { c.serve(""); c.finish() }()
				begin, last := time.Now(), ""
				r := bufio.NewReader(theirs)
				go func() {
					for name == "busy" {
						time.Sleep(time.Minute)
						if _, err := theirs.Write([]byte("NOOP\r\n")); err != nil {
							return
						}
					}
				}()
				for {
					l, err := r.ReadString('\n')
					if err != nil {
						break
					}
					last = strings.TrimSpace(l)
				}
				require.Equal(t, want, last)
				require.Equal(t, map[string]time.Duration{"idle": 5 * time.Minute, "busy": 10 * time.Minute}[name], time.Since(begin))
				time.Sleep(2 * time.Minute)
			})
		})
	}
}

// Secrets never reach the trace, and an error of the back end never the peer.
func TestTrace(t *testing.T) {
	log := trace.New(trace.Config{})
	conf := testConfig(&backend{})
	conf.Trace = log.Source("mbx1", "default")
	c := dial(t, serve(t, conf))
	c.talk("EHLO x", hello, "AUTH NTLM c2VjcmV0", "454 auth-unavailable", "MAIL FROM:<a@b>", "250 sender-ok", "RCPT TO:<broken@d>", "452 insufficient-resources", "QUIT", "221 quit")
	_, err := c.r.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, log.Close())
	var names []string
	for e := range log.Events() {
		require.NotContains(t, string(e.Raw), "c2VjcmV0")
		names = append(names, e.Name)
	}
	require.Contains(t, names, "smtp.failed", "the log says what the peer is not told")
}

// go-smtp's client is served: an independent implementation.
func TestGoSMTPClient(t *testing.T) {
	b := &backend{}
	c, err := gosmtp.Dial(serve(t, testConfig(b)))
	require.NoError(t, err)
	require.NoError(t, c.SendMail("a@b", []string{"c@d", "e@f"}, strings.NewReader("Subject: x\r\n\r\n.dot\r\n")))
	require.NoError(t, c.Quit())
	require.Equal(t, "Subject: x\r\n\r\n.dot\r\n", b.got()[0].data)
	require.Equal(t, []string{"c@d", "e@f"}, b.got()[0].to)
}

func TestNewRefuses(t *testing.T) {
	conf := testConfig(&backend{})
	delete(conf.Replies, ReplyQuit)
	_, err := New(conf)
	require.ErrorContains(t, err, `reply "quit" is ""`)
}

// Whatever is sent, the session ends without a panic, and no message is stored
// that did not end.
func FuzzSession(f *testing.F) {
	f.Add([]byte("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n"))
	f.Add([]byte("EHLO x\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<c@d>\r\nBDAT 3\r\nabcBDAT 2 LAST\r\nhiRSET\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := &backend{}
		s, err := New(testConfig(b))
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := net.Pipe()
		c := newConn(s, ours)
		done := make(chan struct{})
		go func() { defer close(done); c.serve(""); c.finish() }()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		_ = theirs.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, _ = theirs.Write(data)
		theirs.Close()
		<-done
		if n := bytes.Count(bytes.ToUpper(data), []byte("DATA")) + bytes.Count(bytes.ToUpper(data), []byte("BDAT")); len(b.got()) > n {
			t.Fatalf("%d messages of %d", len(b.got()), n)
		}
	})
}
