package admit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/trace"
)

func expect(name string) func([]string) (string, bool) {
	return func(names []string) (string, bool) {
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) }) {
			return "gateway gw1", true
		}
		return "", false
	}
}

// bench is a TLS listener of ours on loopback, and what it recorded.
type bench struct {
	ln  net.Listener
	log *trace.Log
}

func listen(t *testing.T, conf TLS) *bench {
	t.Helper()
	b := &bench{log: trace.New(trace.Config{})}
	conf.Trace = b.log.Source("cas1", "call-router-tls")
	if conf.Expect == nil {
		conf.Expect = expect("gw1.contoso.lab")
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	b.ln = conf.Listener(inner)
	t.Cleanup(func() {
		require.NoError(t, b.ln.Close())
		require.NoError(t, b.log.Close())
	})
	return b
}

// event waits for the next event of a name behind the first skip ones.
func (b *bench) event(t *testing.T, skip int, names ...string) *trace.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for e := range b.log.Follow(ctx) {
		if slices.Contains(names, e.Name) {
			if skip--; skip < 0 {
				return &e
			}
		}
	}
	t.Fatalf("no %v", names)
	return nil
}

// openssl makes certificates in a folder: an authority, and one for each way
// to be wrong. They are not made by what judges them.
func openssl(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("peer openssl is not installed: sudo make peers")
		}
		t.Skip("peer openssl is not installed: sudo make peers")
	}
	dir := t.TempDir()
	const script = `set -e
cat > ca.cnf <<'X'
[ca]
default_ca = d
[d]
dir = .
new_certs_dir = .
database = index.txt
serial = serial
crlnumber = crlnumber
default_md = sha256
policy = p
unique_subject = no
copy_extensions = none
[p]
commonName = supplied
[ext]
subjectAltName = DNS:gw1.contoso.lab
extendedKeyUsage = clientAuth, serverAuth
[other]
subjectAltName = DNS:other.contoso.lab
extendedKeyUsage = clientAuth, serverAuth
[server]
subjectAltName = DNS:gw1.contoso.lab
extendedKeyUsage = serverAuth
[cn]
extendedKeyUsage = clientAuth
X
touch index.txt; echo 1000 > serial; echo 01 > crlnumber
ca() { openssl req -x509 -newkey rsa:2048 -nodes -keyout $1.key -out $1.pem -days 3650 -subj "/CN=$1" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign; }
ca ca; ca rogue
leaf() { name=$1 bits=$2 by=$3 ext=$4 cn=$5; shift 5
  openssl req -newkey rsa:$bits -nodes -keyout $name.key -out $name.csr -subj "/CN=$cn"
  openssl ca -batch -config ca.cnf -in $name.csr -out $name.pem -notext -cert $by.pem -keyfile $by.key -extensions $ext "$@"; }
days="-days 365"
leaf good 2048 ca ext gw1.contoso.lab $days
leaf expired 2048 ca ext gw1.contoso.lab -startdate 20200101000000Z -enddate 20210101000000Z
leaf early 2048 ca ext gw1.contoso.lab -startdate 20400101000000Z -enddate 20410101000000Z
leaf other 2048 ca other other.contoso.lab $days
leaf server 2048 ca server gw1.contoso.lab $days
leaf cn 2048 ca cn gw1.contoso.lab $days
leaf sha1 2048 ca ext gw1.contoso.lab $days -md sha1
leaf small 1024 ca ext gw1.contoso.lab $days
leaf unknown 2048 rogue ext gw1.contoso.lab $days
leaf revoked 2048 ca ext gw1.contoso.lab $days
openssl req -x509 -newkey rsa:2048 -nodes -keyout self.key -out self.pem -days 365 -subj /CN=gw1.contoso.lab
openssl ca -config ca.cnf -cert ca.pem -keyfile ca.key -revoke revoked.pem
openssl ca -config ca.cnf -cert ca.pem -keyfile ca.key -gencrl -crldays 365 -out crl.pem
`
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return dir
}

func policyOf(t *testing.T, dir string) *Policy {
	t.Helper()
	a := &Authority{}
	for _, f := range []string{"ca.pem", "crl.pem"} {
		text, err := os.ReadFile(filepath.Join(dir, f))
		require.NoError(t, err)
		certs, lists, err := parsePEM(f, text)
		require.NoError(t, err)
		a.trusted, a.lists = append(a.trusted, certs...), append(a.lists, lists...)
	}
	return &Policy{Roots: a.trusted, Revoked: a.Lists}
}

// Each certificate that openssl made wrong is refused by the check for it, the
// event says what was offered and what would let it in, and with the check at
// warn it is let in.
func TestCertificatePolicy(t *testing.T) {
	dir := openssl(t)
	lab, err := NewAuthority()
	require.NoError(t, err)
	own, err := lab.Issue(Request{Names: []string{"cas1.contoso.lab"}, RSA: true})
	require.NoError(t, err)
	for name, check := range map[string]Check{
		"good": "", "cn": "", "expired": CheckDates, "early": CheckDates, "other": CheckName, "server": CheckUsage,
		"sha1": CheckAlgorithm, "small": CheckKeySize, "unknown": CheckChain, "self": CheckChain, "revoked": CheckRevocation, "none": CheckChain,
	} {
		t.Run(name, func(t *testing.T) {
			var certs []tls.Certificate
			if name != "none" {
				c, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key"))
				require.NoError(t, err)
				certs = append(certs, c)
			}
			policy := policyOf(t, dir)
			b := listen(t, TLS{Policy: policy, Cert: own, Expected: "gateway gw1 (gw1.contoso.lab)"})
			connect := func() {
				c, err := tls.Dial("tcp", b.ln.Addr().String(), &tls.Config{RootCAs: lab.Pool(), ServerName: "cas1.contoso.lab", Certificates: certs})
				if err == nil {
					defer c.Close()
					_, _ = c.Read(make([]byte, 1)) // until ours has judged
				}
			}
			closeAccepted := func() {
				if c, err := b.ln.Accept(); err == nil {
					_ = c.Close()
				}
			}
			if check == "" {
				go connect()
				c, err := b.ln.Accept()
				require.NoError(t, err)
				require.Equal(t, "gateway gw1", c.(*Conn).Identity())
				require.NoError(t, c.Close())
				require.Equal(t, "gw1.contoso.lab", b.event(t, 0, "tls.established").Text("names"))
				return
			}
			connect()
			e := b.event(t, 0, "tls.refused", "tls.established")
			require.Equal(t, "tls.refused", e.Name)
			require.Equal(t, string(check), e.Text("check"), e.Text("why"))
			require.Contains(t, e.Text("fix"), string(check)+": warn")
			if name != "none" {
				require.Contains(t, e.Text("subject"), "CN=")
			}
			policy.Levels = map[Check]Level{}
			for _, c := range Checks() {
				policy.Levels[c] = Warn
			}
			go connect()
			closeAccepted()
			require.Equal(t, string(check), b.event(t, 0, "tls.warned").Text("check"))
		})
	}
}

// What the pki command makes wrong is wrong for the same checks.
func TestBadCertificates(t *testing.T) {
	lab, err := NewAuthority()
	require.NoError(t, err)
	want := map[Bad]Check{
		Expired: CheckDates, NotYetValid: CheckDates, WrongName: CheckName, Wildcard: CheckName, WrongUse: CheckUsage, CNOnly: "", SHA1: CheckAlgorithm,
		RSA1024: CheckKeySize, SelfSigned: CheckChain, UnknownCA: CheckChain, Revoked: CheckRevocation,
	}
	require.Len(t, want, len(Bads()))
	for _, bad := range Bads() {
		c, err := lab.IssueBad(bad, Request{Names: []string{"gw1.contoso.lab"}})
		require.NoError(t, err, bad)
		var certs []*x509.Certificate
		for _, der := range c.Certificate {
			p, err := x509.ParseCertificate(der)
			require.NoError(t, err)
			certs = append(certs, p)
		}
		p := &Policy{Roots: lab.Roots(), Revoked: lab.Lists}
		who, found := p.judge(certs, asClient, expect("gw1.contoso.lab"))
		if want[bad] == "" {
			require.Empty(t, found, bad)
			require.Equal(t, "gateway gw1", who)
			continue
		}
		require.Len(t, found, 1, "%s: %v", bad, found)
		require.Equal(t, want[bad], found[0].Check, bad)
	}
}

// A server that is too old for us is refused likewise, and the setting that
// takes it is told; with that setting it is taken.
func TestOldServer(t *testing.T) {
	lab, err := NewAuthority()
	require.NoError(t, err)
	cert, err := lab.Issue(Request{Names: []string{"gw1.contoso.lab"}, RSA: true})
	require.NoError(t, err)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	require.NoError(t, err)
	defer ln.Close()
	go func() {
		for c, err := ln.Accept(); err == nil; c, err = ln.Accept() {
			if tc, ok := c.(*tls.Conn); ok {
				_ = tc.Handshake()
			}
			_ = c.Close()
		}
	}()
	for _, tt := range []struct {
		least uint16
		event string
	}{{0, "tls.failed"}, {tls.VersionTLS10, "tls.established"}} {
		log := trace.New(trace.Config{})
		nc, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		ours := TLS{Policy: &Policy{Roots: lab.Roots()}, Cert: cert, Expect: expect("gw1.contoso.lab"), MinVersion: tt.least, Legacy: tt.least != 0, Trace: log.Source("um", "x")}
		c, err := ours.Client(t.Context(), nc, "gw1.contoso.lab")
		require.Equal(t, tt.least != 0, err == nil, "%v", err)
		if err == nil {
			_ = c.Close()
		}
		require.NoError(t, log.Close())
		for e := range log.Events() {
			if e.Name == tt.event && err != nil {
				require.Contains(t, e.Text("fix"), "min-version")
			}
			require.NotEqual(t, map[string]string{"tls.failed": "tls.established", "tls.established": "tls.failed"}[tt.event], e.Name)
		}
	}
}

// A peer that does not finish its handshake keeps nobody waiting; one that
// speaks in clear is told apart.
func TestSlowHandshake(t *testing.T) {
	lab, err := NewAuthority()
	require.NoError(t, err)
	cert, err := lab.Issue(Request{Names: []string{"gw1.contoso.lab"}})
	require.NoError(t, err)
	conf := TLS{Policy: &Policy{Roots: lab.Roots()}, Cert: cert}
	b := listen(t, conf)
	for range 20 { // silent ones
		c, err := net.Dial("tcp", b.ln.Addr().String())
		require.NoError(t, err)
		defer c.Close()
	}
	clear, err := net.Dial("tcp", b.ln.Addr().String())
	require.NoError(t, err)
	defer clear.Close()
	_, err = fmt.Fprint(clear, "OPTIONS sip:um SIP/2.0\r\n\r\n")
	require.NoError(t, err)
	require.Contains(t, b.event(t, 0, "tls.failed").Text("why"), "does not speak TLS")

	dialled := make(chan error, 1)
	log := trace.New(trace.Config{})
	go func() {
		nc, err := net.Dial("tcp", b.ln.Addr().String())
		if err == nil {
			ours := conf
			ours.Expect, ours.Trace = expect("gw1.contoso.lab"), log.Source("gw", "ip-gateway")
			var c net.Conn
			if c, err = ours.Client(context.Background(), nc, "gw1.contoso.lab"); err == nil {
				_ = c.Close()
			}
		}
		dialled <- err
	}()
	c, err := b.ln.Accept()
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, <-dialled)
	require.NoError(t, log.Close())
}

// One address cannot take all handshakes.
func TestHandshakeFlood(t *testing.T) {
	l := &tlsListener{each: map[netip.Addr]int{}}
	bad, good := netip.MustParseAddr("127.0.0.66"), netip.MustParseAddr("127.0.0.30")
	for range maxHandshakesEach {
		require.True(t, l.begin(bad))
	}
	require.False(t, l.begin(bad))
	require.True(t, l.begin(good))
	l.end(bad)
	require.True(t, l.begin(bad))
}

// An authority is held to what it is limited to: no authority below it, none
// at all, or some names.
func TestLimitedAuthorities(t *testing.T) {
	root, err := NewAuthority()
	require.NoError(t, err)
	for name, change := range map[string]func(*x509.Certificate){
		"allows 0 authorities below it":   func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true },
		"has name constraints":            func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"fabrikam.lab"} },
		"its authority CN=middle is not":  func(c *x509.Certificate) { c.IsCA = false },
		"its authority CN=middle is not ": func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature },
		"":                                func(*x509.Certificate) {},
	} {
		middle := ca(t, "middle", root, change)
		lower := ca(t, "lower", middle, func(*x509.Certificate) {})
		for by, between := range map[*Authority][]*x509.Certificate{middle: {middle.cert}, lower: {lower.cert, middle.cert}} {
			c, err := by.Issue(Request{Names: []string{"gw1.contoso.lab"}})
			require.NoError(t, err)
			p := &Policy{Roots: root.Roots()}
			_, found := p.judge(append([]*x509.Certificate{c.Leaf}, between...), asClient, expect("gw1.contoso.lab"))
			if name == "" || by == middle && strings.HasPrefix(name, "allows") {
				require.Empty(t, found)
				continue
			}
			require.NotEmpty(t, found, name)
			require.Equal(t, CheckChain, found[0].Check)
			require.Contains(t, found[0].What, strings.TrimSpace(name))
		}
	}
}

// ca is an authority below another one.
func ca(t *testing.T, name string, by *Authority, change func(*x509.Certificate)) *Authority {
	t.Helper()
	a, err := newAuthority(name)
	require.NoError(t, err)
	template := *a.cert
	change(&template)
	a.cert, err = by.sign(&template, a.key.Public())
	require.NoError(t, err)
	return a
}

// What a stranger sends along is bounded, and so is what it writes into events.
func TestManyCertificates(t *testing.T) {
	lab, err := NewAuthority()
	require.NoError(t, err)
	c, err := lab.Issue(Request{Names: []string{"gw1.contoso.lab"}})
	require.NoError(t, err)
	many := make([]*x509.Certificate, maxSent+1)
	for i := range many {
		many[i] = c.Leaf
	}
	p := &Policy{Roots: lab.Roots(), Levels: map[Check]Level{CheckChain: Ignore}}
	_, found := p.judge(many, asClient, expect("gw1.contoso.lab"))
	_, no := refusal(found)
	require.True(t, no, "also where the chain is not judged")

	odd, err := lab.Issue(Request{Names: []string{"x\x1b[2J\r\n" + strings.Repeat("y", 5000)}})
	require.NoError(t, err)
	_, found = (&Policy{Roots: lab.Roots()}).judge(certsOf(t, odd), asClient, expect("gw1.contoso.lab"))
	require.Equal(t, CheckName, found[0].Check)
	require.Less(t, len(found[0].What), maxText+10)
	require.NotContains(t, found[0].What, "\x1b")
	require.NotContains(t, found[0].What, "\n")
}
