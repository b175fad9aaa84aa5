package capture

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/trace"
)

// tshark reads a capture with Wireshark's dissectors.
func tshark(t *testing.T, file string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("peer tshark is not installed: sudo make peers")
		}
		t.Skip("peer tshark is not installed: sudo make peers")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	c := exec.CommandContext(ctx, "tshark", append([]string{"-r", file}, args...)...)
	c.Stdout, c.Stderr = &out, &errs
	require.NoError(t, c.Run(), errs.String())
	return out.String()
}

func written(t *testing.T, c *Capture, o Options) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.pcapng")
	f, err := os.Create(file)
	require.NoError(t, err)
	require.NoError(t, c.Write(f, o))
	require.NoError(t, f.Close())
	return file
}

func newTest(t *testing.T) *Capture {
	t.Helper()
	c, err := New(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// both are the two ends of a connection, which are both captured.
func both(t *testing.T, c *Capture) (client, server net.Conn) {
	t.Helper()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln := c.Listener(raw)
	defer ln.Close()
	nc, err := net.Dial("tcp", raw.Addr().String())
	require.NoError(t, err)
	client = c.Dialled(nc)
	server, err = ln.Accept()
	require.NoError(t, err)
	return client, server
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

const request = "OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bK1\r\nCSeq: 1 OPTIONS\r\nFrom: <sip:b>;tag=1\r\nTo: <sip:a>\r\nCall-ID: 1\r\nContent-Length: 0\r\n\r\n"

// SIP in TLS 1.2 and 1.3 is in clear for tshark, once, though both ends are ours
// and both tell their keys.
func TestTLSInClear(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			c := newTest(t)
			client, server := both(t, c)
			conf := &tls.Config{Certificates: []tls.Certificate{certificate(t)}, MinVersion: version, MaxVersion: version, InsecureSkipVerify: true, KeyLogWriter: c.Keys()}
			done := make(chan error, 1)
			go func() {
				s := tls.Server(server, conf)
				b := make([]byte, len(request))
				_, err := io.ReadFull(s, b)
				_ = s.Close()
				done <- err
			}()
			s := tls.Client(client, conf)
			_, err := io.WriteString(s, request)
			require.NoError(t, err)
			require.NoError(t, <-done)
			_, _ = io.Copy(io.Discard, s)
			_ = s.Close()
			file := written(t, c, Options{Program: "test"})
			port := server.LocalAddr().(*net.TCPAddr).AddrPort()
			out := tshark(t, file, "-d", "tls.port=="+strings.TrimPrefix(port.String(), "127.0.0.1:")+",sip", "-Y", "sip", "-T", "fields", "-e", "sip.Request-Line")
			require.Equal(t, "OPTIONS sip:a@127.0.0.1 SIP/2.0", strings.TrimSpace(out))
			require.Empty(t, strings.TrimSpace(tshark(t, file, "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE",
				"-Y", `tcp.analysis.flags or _ws.malformed or tcp.checksum.status == "Bad" or ip.checksum.status == "Bad"`)))

			// A run with secrets shows no keys.
			out = tshark(t, written(t, c, Options{Secrets: []string{"x"}}), "-d", "tls.port=="+strings.TrimPrefix(port.String(), "127.0.0.1:")+",sip", "-Y", "sip")
			require.Empty(t, strings.TrimSpace(out))
		})
	}
}

// packetsIn are those of a file, read by the library.
func packetsIn(t *testing.T, file string) (list []gopacket.Packet, faces []int) {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	r, err := pcapgo.NewNgReader(f, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	require.NoError(t, err)
	last := time.Time{}
	for {
		b, ci, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return list, faces
		}
		require.NoError(t, err)
		require.False(t, ci.Timestamp.Before(last), "packets are in the order of their times")
		last = ci.Timestamp
		faces = append(faces, ci.InterfaceIndex)
		list = append(list, gopacket.NewPacket(b, layers.LinkTypeRaw, gopacket.Default))
	}
}

// What one of our ports sends to another is taken where it arrives, at the time
// when it came; what goes elsewhere, where it leaves; SRTP stands twice.
func TestDatagrams(t *testing.T) {
	c := newTest(t)
	a, b, z := netip.MustParseAddrPort("127.0.0.1:4000"), netip.MustParseAddrPort("127.0.0.2:5000"), netip.MustParseAddrPort("127.0.0.3:6000")
	c.Opened(a)
	c.Opened(b)
	now := time.Now()
	c.Datagram(&Datagram{At: now, Local: a, Remote: b, Sent: true, Wire: []byte("lost on the way")})
	c.Datagram(&Datagram{At: now.Add(2 * time.Millisecond), Local: a, Remote: z, Sent: true, Wire: []byte("second")})
	c.Datagram(&Datagram{At: now.Add(time.Millisecond), Local: b, Remote: a, Wire: []byte("first")})
	c.Datagram(&Datagram{At: now.Add(3 * time.Millisecond), Local: a, Remote: z, Wire: []byte("0123456789abPIN"), Plain: []byte("0123456789abPIN!"), Starred: true})
	file := written(t, c, Options{})
	list, faces := packetsIn(t, file)
	require.Equal(t, []int{faceWire, faceWire, faceWire, facePlain}, faces)
	for i, want := range []string{"first", "second", "0123456789ab\x00\x00\x00"} {
		udp, ok := list[i].TransportLayer().(*layers.UDP)
		require.True(t, ok)
		require.Equal(t, want, string(udp.Payload))
	}
	all, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NotContains(t, string(all), "PIN")
	require.NotContains(t, string(all), "lost on the way")
}

// What logs on is starred in clear, in whichever pieces it comes; the rest
// stays as it is.
func TestStarring(t *testing.T) {
	type line struct {
		client     bool
		said, told string
	}
	session := []line{
		{false, "220 ready\r\n", "220 ready\r\n"},
		{true, "EHLO AUTH x y\r\n", "EHLO AUTH x y\r\n"},
		{false, "250-a\r\n250 AUTH LOGIN\r\n", "250-a\r\n250 AUTH LOGIN\r\n"},
		{true, "auth PLAIN AGFkYQBzZWNyZXQ=\r\n", "auth PLAIN ****************\r\n"},
		{false, "535 no\r\n", "535 no\r\n"},
		{true, "AUTH LOGIN\r\n", "AUTH LOGIN\r\n"},
		{false, "334 VXNlcm5hbWU6\r\n", "334 VXNlcm5hbWU6\r\n"},
		{true, "YWRh\r\n", "****\r\n"},
		{false, "334 UGFzc3dvcmQ6\r\n", "334 UGFzc3dvcmQ6\r\n"},
		{true, "c2VjcmV0\r\n", "********\r\n"},
		{false, "235 ok\r\n", "235 ok\r\n"},
		{true, "MAIL FROM:<a@b>\r\n", "MAIL FROM:<a@b>\r\n"},
		{true, " AUTH \t PLAIN   c2VjcmV0\r\n", " AUTH \t PLAIN   ********\r\n"},
		{false, "535 no\r\n", "535 no\r\n"},
		{true, "EHLO a\r\nAUTH LOGIN\r\n", "EHLO a\r\nAUTH LOGIN\r\n"}, // at once
		{false, "250-a\r\n250 AUTH LOGIN\r\n334 VXNlcm5hbWU6\r\n", "250-a\r\n250 AUTH LOGIN\r\n334 VXNlcm5hbWU6\r\n"},
		{true, "YWRh\r\n", "****\r\n"},
	}
	for size := 1; size < 30; size++ {
		var s starring
		for _, l := range session {
			told := ""
			for rest := []byte(l.said); len(rest) > 0; {
				n := min(size, len(rest))
				told += string(s.pass(l.client, bytes.Clone(rest[:n])))
				rest = rest[n:]
			}
			require.Equal(t, l.told, told, "in pieces of %d", size)
		}
	}
}

type event struct {
	name string
	text map[string]string
	n    int64
}

func (e event) EventName() string { return e.name }
func (e event) AppendTo(f *trace.Fields) {
	for k, v := range e.text {
		f.Text(k, v)
	}
	f.Int("event", e.n)
}

// A verdict stands at the message that decided it, whichever end of ours tells
// of the connection; one that is about something that never came, at the last
// packet.
func TestNotes(t *testing.T) {
	c := newTest(t)
	log := trace.New(trace.Config{Dir: t.TempDir()})
	src := log.Source("MBX1", "um-service")
	client, server := both(t, c)
	b := make([]byte, 100)
	say := func(from, to net.Conn, text string) {
		_, err := io.WriteString(from, text)
		require.NoError(t, err)
		_, err = to.Read(b)
		require.NoError(t, err)
	}
	peer := map[string]string{"peer": client.LocalAddr().String()} // as the server's side sees it
	none := trace.Session{}
	say(client, server, "one")
	src.Record(none, none, event{"sip.received", peer, 0}, nil)
	say(server, client, "two")
	src.Record(none, none, event{"sip.sent", peer, 0}, nil)
	say(client, server, "three")
	src.Record(none, none, event{"sip.received", peer, 0}, nil)
	say(server, client, "four")
	src.Record(none, none, event{"sip.sent", peer, 0}, nil)
	for n, result := range map[int64]string{2: "passed", -1: "failed"} {
		src.Record(none, none, event{"scenario.verdict", map[string]string{"result": result, "text": "words", "cause": "why"}, n}, nil)
	}
	require.NoError(t, log.Close())
	out := tshark(t, written(t, c, Options{Log: log}), "-Y", "frame.comment", "-T", "fields", "-e", "tcp.payload", "-e", "frame.comment")
	require.Equal(t, []string{
		"74776f\texsim: passed: words\\ncause: why",
		"666f7572\texsim: failed: words\\ncause: why",
	}, strings.Split(strings.TrimSpace(strings.ReplaceAll(out, "\ncause", "\\ncause")), "\n"))
}

// Keys of a session in which somebody logged on are left out, those of others
// are not.
func TestKeysOfLogOns(t *testing.T) {
	k := &keys{lines: []string{"CLIENT_RANDOM AA01 11\n", "CLIENT_RANDOM bb02 22\n"}, hidden: map[string]bool{"aa01": true}}
	require.Equal(t, "CLIENT_RANDOM bb02 22\n", string(k.log()))
	require.Contains(t, k.comment(), "1 TLS sessions")
}

// A ClientHello in pieces is one all the same: whose keys to hide is known; and
// where it is not, no key is shown at all.
func TestClientHelloInPieces(t *testing.T) {
	random := bytes.Repeat([]byte{7}, 32)
	hello := append([]byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}, append(random, 1, 2, 3)...)
	for size := 1; size <= len(hello); size++ {
		var p protocol
		p.see(false, []byte("220 x\r\n"))
		for rest := hello; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			p.see(true, rest[:min(size, len(rest))])
			require.True(t, p.secured)
		}
		require.Equal(t, random, p.random, "in pieces of %d", size)
	}
	k := &keys{lines: []string{"CLIENT_RANDOM AA01 11\n"}, open: map[*stream]bool{{}: true}}
	require.Empty(t, k.log())
	var p protocol
	p.see(true, []byte("\x16AUTH"))
	require.False(t, p.secured, "one octet makes no TLS")
}

// Whatever a peer sends, there is a file in order, and it can be read.
func FuzzCapture(f *testing.F) {
	f.Add([]byte("220 x\r\n"), []byte("AUTH LOGIN\r\nx\r\n"), uint8(3))
	f.Add([]byte("\x16\x03\x01\x00\x00\x01"), []byte(request), uint8(7))
	f.Fuzz(func(t *testing.T, a, b []byte, size uint8) {
		if len(a)+len(b) > 2000 {
			return
		}
		c := newTest(t)
		s := &stream{}
		at := time.Now()
		local, remote := netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("[::1]:2")
		c.put(&record{kind: opened, at: at, conn: 1, local: local, remote: remote})
		for i, part := range [][]byte{a, b, a} {
			for len(part) > 0 {
				n := min(int(size)+1, len(part))
				r := record{kind: data, at: at, conn: 1, data: part[:n], flags: byte(i) & flagOut}
				c.put(&r)
				got := 0
				for _, p := range s.data(&r) {
					got += len(p.octets)
				}
				require.GreaterOrEqual(t, got, n)
				part = part[n:]
			}
		}
		c.put(&record{kind: broken, at: at, conn: 1})
		c.put(&record{kind: data, at: at, conn: 1, data: a})
		c.Datagram(&Datagram{At: at, Local: local, Remote: remote, Wire: a, Plain: b, Starred: size%2 == 0})
		var out bytes.Buffer
		require.NoError(t, c.Write(&out, Options{Secrets: []string{"a"}}))
		_, err := pcapgo.NewNgReader(&out, pcapgo.NgReaderOptions{WantMixedLinkType: true})
		require.NoError(t, err)
	})
}
