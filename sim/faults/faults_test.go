package faults

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/exsim/exsim/sim/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newSet(t *testing.T, seed uint64, list ...Fault) *Set {
	t.Helper()
	log := trace.New(trace.Config{})
	t.Cleanup(func() { require.NoError(t, log.Close()) })
	s := NewSet(log.Source("h", "l"), rand.New(rand.NewPCG(seed, 1)).Uint64)
	for _, f := range list {
		s.Plant(New(f, s.rand))
	}
	return s
}

// struckAt asks for n things and lists those that a fault befell, from 1.
func struckAt(s *Set, n int) (list []int) {
	for i := 1; i <= n; i++ {
		if s.Of("", Drop) != nil {
			list = append(list, i)
		}
	}
	return list
}

// A dose is exact, and chance is the seed's.
func TestDose(t *testing.T) {
	for _, tt := range []struct {
		dose Dose
		want []int
	}{
		{Dose{}, []int{1, 2, 3, 4, 5, 6}},
		{Dose{Nth: 3}, []int{3}},
		{Dose{From: 5}, []int{5, 6}},
		{Dose{Every: 2}, []int{2, 4, 6}},
	} {
		require.Equal(t, tt.want, struckAt(newSet(t, 1, Fault{Do: Drop, Dose: tt.dose}), 6), "%+v", tt.dose)
	}
	chance := Fault{Do: Drop, Dose: Dose{Percent: 10}}
	once := struckAt(newSet(t, 7, chance), 2000)
	require.Equal(t, once, struckAt(newSet(t, 7, chance), 2000))
	require.NotEqual(t, once, struckAt(newSet(t, 8, chance), 2000))
	require.InDelta(t, 200, len(once), 60)

	s := newSet(t, 1)
	lift := s.Plant(New(Fault{Do: Drop}, s.rand))
	require.Len(t, struckAt(s, 2), 2)
	lift()
	require.Empty(t, struckAt(s, 2))
	require.Nil(t, (*Set)(nil).Of("", Drop))
}

const (
	invite  = "INVITE sip:4000@h SIP/2.0\r\nVia: v\r\nCSeq: 1 INVITE\r\nDiversion: <tel:1>\r\nContent-Length: 21\r\n\r\nv=0\r\nc=IN IP4 1.1.1.1\r\n"
	ack     = "ACK sip:4000@h SIP/2.0\r\nCSeq: 1 ACK\r\nl: 0\r\n\r\n"
	ok      = "SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
	goodbye = "SIP/2.0 200 OK\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n"
)

// through writes messages through a set's faults, in pieces of n octets, and
// returns what leaves.
func through(t *testing.T, s *Set, framing Framing, n int, messages ...string) string {
	t.Helper()
	near, far := net.Pipe()
	came := make(chan string)
	go func() {
		b, _ := io.ReadAll(far)
		came <- string(b)
	}()
	c := s.Conn(near, framing)
	text := []byte(strings.Join(messages, ""))
	for len(text) > 0 {
		k := min(n, len(text))
		_, err := c.Write(text[:k])
		if err != nil {
			break
		}
		text = text[k:]
	}
	require.NoError(t, c.Close())
	_, err := c.Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)
	return <-came
}

func TestMessages(t *testing.T) {
	all := invite + ack + ok + goodbye
	for name, tt := range map[string]struct {
		fault Fault
		want  string
	}{
		"none":      {Fault{Do: Silence, Of: "BYE"}, all},
		"silence":   {Fault{Do: Silence, Of: "ACK"}, invite + ok + goodbye},
		"a status":  {Fault{Do: Silence, Of: "200"}, invite + ack},
		"an answer": {Fault{Do: Silence, Of: "200 BYE"}, invite + ack + ok},
		"second":    {Fault{Do: Silence, Dose: Dose{Nth: 2}}, invite + ok + goodbye},
		"twice":     {Fault{Do: Duplicate, Of: "ACK"}, invite + ack + ack + ok + goodbye},
		"header":    {Fault{Do: Strip, Header: "diversion"}, strings.Replace(all, "Diversion: <tel:1>\r\n", "", 1)},
		"value":     {Fault{Do: Rewrite, Header: "Via", Value: "w"}, strings.Replace(all, "Via: v", "Via: w", 1)},
		"sdp":       {Fault{Do: Rewrite, SDP: "c", Value: "IN IP4 10.10.10.10"}, strings.NewReplacer("Content-Length: 21", "Content-Length: 25", "1.1.1.1", "10.10.10.10").Replace(invite) + ack + ok + goodbye},
		"split":     {Fault{Do: Split, Octet: 10, For: time.Millisecond}, all},
		"delay":     {Fault{Do: Delay, For: time.Millisecond}, all},
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 7, 1 << 20} {
				require.Equal(t, tt.want, through(t, newSet(t, 1, tt.fault), SIP, n, invite, ack, ok, goodbye), "%d octets at a time", n)
			}
		})
	}
	cut := newSet(t, 1, Fault{Do: Cut, Of: "ACK", Octet: 5})
	require.Equal(t, invite+"ACK s", through(t, cut, SIP, 1<<20, all))
}

func TestLines(t *testing.T) {
	const hello = "250-host\r\n250-STARTTLS\r\n250-SIZE 10\r\n250 CHUNKING\r\n"
	for name, tt := range map[string]struct {
		fault Fault
		want  string
	}{
		"mask":  {Fault{Do: Mask, Keyword: "starttls"}, "250-host\r\n250-XXXXXXXX\r\n250-SIZE 10\r\n250 CHUNKING\r\n"},
		"strip": {Fault{Do: Strip, Keyword: "SIZE"}, "250-host\r\n250-STARTTLS\r\n250 CHUNKING\r\n"},
		"last":  {Fault{Do: Strip, Keyword: "CHUNKING"}, "250-host\r\n250-STARTTLS\r\n250-SIZE 10\r\n250 NOOP\r\n"},
		"code":  {Fault{Do: Silence, Of: "250", Dose: Dose{Nth: 1}}, "250-STARTTLS\r\n250-SIZE 10\r\n250 CHUNKING\r\n"},
	} {
		require.Equal(t, tt.want, through(t, newSet(t, 1, tt.fault), Lines, 5, hello), name)
	}
}

// What is no message any more passes as it is: TLS has begun.
func TestOpaque(t *testing.T) {
	near, far := net.Pipe()
	s := newSet(t, 1, Fault{Do: Silence})
	c := s.Conn(near, Lines)
	c.Opaque()
	go func() { _, _ = c.Write([]byte{0x16, 3, 1}) }()
	b := make([]byte, 3)
	_, err := io.ReadFull(far, b)
	require.NoError(t, err)
	require.Equal(t, []byte{0x16, 3, 1}, b)
	require.NoError(t, c.Close())
}

// datagrams sends numbered datagrams and lists those that arrive, in order.
func datagrams(t *testing.T, n int, f ...Fault) []byte {
	t.Helper()
	to, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer to.Close()
	from, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer from.Close()
	pc := newSet(t, 1, f...).Packets(from)
	for i := range n {
		_, err := pc.WriteTo([]byte{byte(i + 1)}, to.LocalAddr())
		require.NoError(t, err)
	}
	require.NoError(t, pc.Close())
	end, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer end.Close()
	_, err = end.WriteTo([]byte{0}, to.LocalAddr())
	require.NoError(t, err)
	var got []byte
	for b := make([]byte, 2); ; {
		k, _, err := to.ReadFrom(b)
		require.NoError(t, err)
		if b[0] == 0 {
			return got
		}
		got = append(got, b[:k]...)
	}
}

func TestDatagrams(t *testing.T) {
	require.Equal(t, []byte{1, 3, 5}, datagrams(t, 5, Fault{Do: Lose, Dose: Dose{Every: 2}}))
	require.Equal(t, []byte{1, 5, 6}, datagrams(t, 6, Fault{Do: Burst, Count: 3, Dose: Dose{Nth: 2}}))
	require.Equal(t, []byte{1, 3, 2, 4}, datagrams(t, 4, Fault{Do: Reorder, Dose: Dose{Nth: 2}}))
	require.Equal(t, []byte{1, 2, 2, 3}, datagrams(t, 3, Fault{Do: Repeat, Dose: Dose{Nth: 2}}))
	require.Empty(t, datagrams(t, 3, Fault{Do: Stop}))
	require.Equal(t, []byte{1, 2}, datagrams(t, 2, Fault{Do: Stop, For: time.Hour}))
}

// A late datagram comes all the same, and a deaf party hears none.
func TestJitterAndDeaf(t *testing.T) {
	a, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer a.Close()
	b, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer b.Close()
	late := newSet(t, 1, Fault{Do: Jitter, For: 20 * time.Millisecond}).Packets(a)
	_, err = late.WriteTo([]byte("x"), b.LocalAddr())
	require.NoError(t, err)
	buf := make([]byte, 9)
	n, _, err := b.ReadFrom(buf)
	require.NoError(t, err)
	require.Equal(t, "x", string(buf[:n]))

	deaf := newSet(t, 1, Fault{Do: Deaf, Dose: Dose{Nth: 1}}).Packets(a)
	for _, text := range []string{"lost", "heard"} {
		_, err = b.WriteTo([]byte(text), a.LocalAddr())
		require.NoError(t, err)
	}
	n, _, err = deaf.ReadFrom(buf)
	require.NoError(t, err)
	require.Equal(t, "heard", string(buf[:n]))
}

// Whatever a stream brings, nothing is lost where no fault is planted.
func FuzzMessages(f *testing.F) {
	f.Add([]byte(invite+ack), uint8(3))
	f.Add([]byte("\r\n\r\nOPTIONS sip:x SIP/2.0\r\nContent-Length: -5\r\n\r\n"), uint8(1))
	f.Add([]byte("INVITE x\r\nContent-Length: 99999999999999999999\r\n\r\n"), uint8(200))
	f.Fuzz(func(t *testing.T, b []byte, n uint8) {
		for _, framing := range []Framing{SIP, Lines, Opaque} {
			s := newSet(t, 1, Fault{Do: Rewrite, Of: "NOTHING", Header: "X", Value: "y"})
			require.True(t, bytes.Equal(b, []byte(through(t, s, framing, int(n)+1, string(b)))))
		}
	})
}

// The address of a connection is that of the one below.
func TestConnAddresses(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	faulty := newSet(t, 1).Listener(ln, SIP)
	defer faulty.Close()
	go func() {
		if nc, err := net.Dial("tcp", ln.Addr().String()); err == nil {
			_ = nc.Close()
		}
	}()
	c, err := faulty.Accept()
	require.NoError(t, err)
	_, err = netip.ParseAddrPort(c.RemoteAddr().String())
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

// Several faults of one message, or datagram, all do their part.
func TestTogether(t *testing.T) {
	set := func(list ...Fault) *Set { return newSet(t, 1, list...) }
	for name, tt := range map[string]struct {
		set  *Set
		want string
	}{
		"split and delay":       {set(Fault{Do: Split, Octet: 5}, Fault{Do: Delay, For: time.Millisecond}), ack + ok},
		"split and rewrite":     {set(Fault{Do: Split, Octet: 5}, Fault{Do: Rewrite, Header: "l", Value: "00"}), strings.Replace(ack, "l: 0", "l: 00", 1) + ok},
		"duplicate and rewrite": {set(Fault{Do: Duplicate, Of: "ACK"}, Fault{Do: Rewrite, Header: "l", Value: "00"}), strings.Repeat(strings.Replace(ack, "l: 0", "l: 00", 1), 2) + ok},
		"cut and delay":         {set(Fault{Do: Delay, For: time.Millisecond}, Fault{Do: Cut, Octet: 5}), ack[:5]},
		"cut and duplicate":     {set(Fault{Do: Duplicate}, Fault{Do: Cut, Octet: 5}), ack[:5]},
	} {
		require.Equal(t, tt.want, through(t, tt.set, SIP, 1<<20, ack+ok), name)
	}
	require.Equal(t, []byte{2, 2, 4, 4}, datagrams(t, 5, Fault{Do: Repeat}, Fault{Do: Lose, Dose: Dose{Nth: 1}}, Fault{Do: Lose, Dose: Dose{Nth: 3}}, Fault{Do: Lose, Dose: Dose{From: 5}}))
	require.Equal(t, []byte{2, 1, 4, 3, 5}, datagrams(t, 5, Fault{Do: Reorder}), "none waits behind one that waits")
}
