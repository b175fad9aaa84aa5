package rtp

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	pion "github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/exsim/exsim/sim/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var loopback = netip.MustParseAddr("127.0.0.1")

func newTestEngine(t *testing.T, low, high uint16) *Engine {
	t.Helper()
	e, err := New(Config{Low: low, High: high})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

// ITU-T G.711: every octet survives decoding and encoding, and the tables have
// their published corner values.
func TestG711(t *testing.T) {
	for _, c := range []Codec{PCMU, PCMA} {
		for i := range 256 {
			got := c.Encode(c.Decode(byte(i)))
			if c == PCMU && i == 0x7f {
				require.Equal(t, byte(0xff), got, "negative zero")
				continue
			}
			require.Equal(t, byte(i), got, "%s %#x", c, i)
		}
	}
	require.EqualValues(t, -32124, PCMU.Decode(0x00))
	require.EqualValues(t, 32124, PCMU.Decode(0x80))
	require.EqualValues(t, 0, PCMU.Decode(0xff))
	require.EqualValues(t, 8, PCMA.Decode(0xd5))
	require.EqualValues(t, -8, PCMA.Decode(0x55))
	require.EqualValues(t, 32256, PCMA.Decode(0xaa))
	require.Less(t, max(int(PCMA.Decode(PCMA.Silence())), int(PCMU.Decode(PCMU.Silence()))), 10)
}

// RTP takes even ports, RTCP the next odd one; a port that somebody else holds
// is skipped; the end of the range is an error and not a wait.
func TestPortPairs(t *testing.T) {
	at := netip.MustParseAddr("127.0.0.77")
	e := newTestEngine(t, 30001, 30009) // pairs 30002, 30004, 30006, 30008
	foreign, err := net.ListenPacket("udp", "127.0.0.77:30005")
	require.NoError(t, err)
	defer foreign.Close()
	ports := map[uint16]bool{}
	var open []*Stream
	for range 3 {
		s, err := e.Open(at, trace.Session{}, nil)
		require.NoError(t, err)
		ports[s.Addr().Port()] = true
		open = append(open, s)
	}
	require.Equal(t, map[uint16]bool{30002: true, 30006: true, 30008: true}, ports)
	_, err = e.Open(at, trace.Session{}, nil)
	require.ErrorIs(t, err, ErrNoPorts)
	freed := open[1].Addr()
	open[1].Close()
	s, err := e.Open(at, trace.Session{}, nil)
	require.NoError(t, err)
	require.Equal(t, freed, s.Addr())

	_, err = New(Config{Low: 4001, High: 4001})
	require.ErrorContains(t, err, "4001-4001")
	_, err = e.Open(netip.MustParseAddr("203.0.113.1"), trace.Session{}, nil)
	require.Error(t, err, "not an address of this machine")
	require.NotErrorIs(t, err, ErrNoPorts)
}

// Two streams talk: audio arrives octet for octet, digits arrive once each,
// both sides count the same.
func TestTalk(t *testing.T) { testTalk(t, nil, nil) }

// The same over SRTP and SRTCP, over the wrap of the sequence number, with a
// master key identifier in one direction.
func TestTalkSRTP(t *testing.T) {
	one, two := bytes.Repeat([]byte{1}, MasterLength), bytes.Repeat([]byte{2}, MasterLength)
	for _, suite := range []string{"AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"} {
		t.Run(suite, func(t *testing.T) {
			testTalk(t, &Crypto{Suite: suite, Send: one, Receive: two}, &Crypto{Suite: suite, Send: two, Receive: one})
		})
	}
}

func testTalk(t *testing.T, ofA, ofB *Crypto) {
	t.Helper()
	log := trace.New(trace.Config{})
	e := newTestEngine(t, 0, 0)
	a, err := e.Open(loopback, trace.Session{Kind: "call", N: 1}, log.Source("a", "rtp"))
	require.NoError(t, err)
	b, err := e.Open(loopback, trace.Session{Kind: "call", N: 1}, log.Source("b", "rtp"))
	require.NoError(t, err)

	digits := make(chan byte, 10)
	b.Start(Params{Remote: a.Addr(), Codec: PCMU, EventsPT: 101, Send: true, Receive: true, Crypto: ofB, OnDigit: func(d byte) { digits <- d }})
	recorded := make(chan Recording, 1)
	b.Record(Limits{Max: time.Minute, Idle: time.Minute}, func(r Recording, why Stopped) {
		require.Equal(t, StoppedHere, why)
		recorded <- r
	})
	a.seq = 65530
	a.Start(Params{Remote: b.Addr(), Codec: PCMU, EventsPT: 101, Send: true, Receive: true, Crypto: ofA})
	speech := Tone(PCMU, 440, 400*time.Millisecond)
	a.Play(PCMU, speech, nil)
	a.SendDigits("1#D", nil)
	for _, want := range []byte("1#D") {
		require.Equal(t, want, <-digits)
	}
	b.StopRecording()
	r := <-recorded
	require.True(t, bytes.Equal(speech, r.Octets), "%d octets sent, %d recorded", len(speech), len(r.Octets))
	require.True(t, r.Voiced)
	a.Close()
	b.Close()
	require.Zero(t, e.Streams())
	require.NoError(t, log.Close())

	ended := map[string]trace.Event{}
	for ev := range log.Events() {
		if ev.Name == "rtp.ended" {
			ended[ev.Host+" "+ev.Text("direction")] = ev
		}
	}
	sent, received := ended["a sent"], ended["b received"]
	require.Len(t, ended, 4)
	require.GreaterOrEqual(t, sent.Int("packets"), int64(20+2*(digitFrames+digitEnds)+1))
	require.Zero(t, received.Int("lost"))
	require.Zero(t, received.Int("duplicates"))
	require.LessOrEqual(t, received.Int("packets"), sent.Int("packets"))
}

func TestRecorder(t *testing.T) {
	start := time.Now()
	packet := func(ssrc, ts uint32, fill byte) *pion.Packet {
		return &pion.Packet{Header: pion.Header{SSRC: ssrc, Timestamp: ts}, Payload: bytes.Repeat([]byte{fill}, 160)}
	}
	frames := func(fill ...byte) (b []byte) {
		for _, f := range fill {
			b = append(b, bytes.Repeat([]byte{f}, 160)...)
		}
		return b
	}
	const q = 0xff // silence
	tests := []struct {
		name string
		in   []*pion.Packet
		want []byte
	}{
		{"in order", []*pion.Packet{packet(1, 0, 1), packet(1, 160, 2)}, frames(1, 2)},
		{"reordered and doubled", []*pion.Packet{packet(1, 0, 1), packet(1, 320, 3), packet(1, 160, 2), packet(1, 160, 2)}, frames(1, 2, 3)},
		{"a lost packet leaves silence", []*pion.Packet{packet(1, 0, 1), packet(1, 320, 3)}, frames(1, q, 3)},
		{"timestamps wrap", []*pion.Packet{packet(1, 1<<32-160, 1), packet(1, 0, 2)}, frames(1, 2)},
		{"older than the beginning", []*pion.Packet{packet(1, 160, 2), packet(1, 0, 1), packet(1, 320, 3)}, frames(2, 3)},
		{"another source goes on at the end", []*pion.Packet{packet(1, 0, 1), packet(2, 9999, 2)}, frames(1, 2)},
		{"a jump is no hour of silence", []*pion.Packet{packet(1, 0, 1), packet(1, 1<<30, 2), packet(1, 1<<30+160, 3)}, frames(1, 2, 3)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := recorder{limits: Limits{Max: time.Hour, Idle: time.Hour}, begun: start, voice: start}
			for _, p := range tt.in {
				r.packet(p, PCMU, start)
			}
			require.Equal(t, tt.want, r.b)
		})
	}

	ends := func(change func(*recorder), now time.Time) (why Stopped) {
		r := recorder{limits: Limits{Max: time.Minute, Idle: 5 * time.Second}, begun: start, voice: start}
		r.done = func(_ Recording, w Stopped) { why = w }
		change(&r)
		if f := r.check(now); f != nil {
			f()
		}
		return why
	}
	quiet := func(r *recorder) { r.packet(packet(1, 0, q), PCMU, start.Add(4*time.Second)) }
	loud := func(r *recorder) { r.packet(packet(1, 0, 0x00), PCMU, start.Add(4*time.Second)) }
	require.Empty(t, ends(quiet, start.Add(5*time.Second-1)))
	require.Equal(t, StoppedSilence, ends(quiet, start.Add(5*time.Second)))
	require.Empty(t, ends(loud, start.Add(5*time.Second)))
	require.Equal(t, StoppedLength, ends(loud, start.Add(time.Minute)))
}

func TestSequence(t *testing.T) {
	tests := []struct {
		name                              string
		seq                               []uint16
		lost, reordered, duplicates, want uint64
	}{
		{"in order", []uint16{5, 6, 7}, 0, 0, 0, 3},
		{"over the wrap", []uint16{65534, 65535, 0, 1}, 0, 0, 0, 4},
		{"lost", []uint16{5, 8}, 2, 0, 0, 2},
		{"reordered", []uint16{5, 7, 6, 8}, 0, 1, 0, 4},
		{"twice", []uint16{5, 6, 6, 5}, 0, 0, 2, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r reception
			for i, n := range tt.seq {
				p := &pion.Packet{Header: pion.Header{SSRC: 1, SequenceNumber: n, Timestamp: uint32(i) * 160}}
				r.packets(p, time.Now(), time.Duration(i)*frameTime, false)
			}
			got := r.total()
			require.Equal(t, []uint64{tt.want, tt.lost, tt.reordered, tt.duplicates}, []uint64{got.Packets, got.Lost, got.Reordered, got.Duplicates})
		})
	}
}

func TestGaps(t *testing.T) {
	var s Stats
	for _, ms := range []int{0, 20, 40, 540, 560, 761} {
		s.sent(160, time.Duration(ms)*time.Millisecond)
	}
	require.Equal(t, Stats{Packets: 6, Octets: 960, Last: 761 * time.Millisecond, Gaps: 2, LongestGap: 500 * time.Millisecond}, s)
}

func TestWAV(t *testing.T) {
	speech := Tone(PCMU, 440, 21*time.Millisecond)[:167]
	for _, c := range []Codec{PCMU, PCMA} {
		octets := c.Convert(bytes.Clone(speech), PCMU)
		got, err := ReadWAV(WAV(c, octets), c)
		require.NoError(t, err)
		require.Equal(t, octets, got)
	}
	for _, bad := range [][]byte{nil, []byte("RIFF"), []byte("RIFF0000WAVEdata0000"), WAV(PCMU, nil)[:30]} {
		_, err := ReadWAV(bad, PCMU)
		require.Error(t, err)
	}
}

// What comes from the network never panics and never grows without bound.
func FuzzReceive(f *testing.F) {
	p := pion.Packet{Header: pion.Header{Version: 2, SSRC: 1}, Payload: []byte{1, 2, 3}}
	b, err := p.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, false)
	f.Add([]byte{0x81, 201, 0, 7}, true)
	e := &Engine{pacer: &pacer{}}
	f.Fuzz(func(t *testing.T, b []byte, rtcp bool) {
		s := &Stream{engine: e, started: true, params: Params{EventsPT: 101, Receive: true}}
		s.record = &recorder{limits: Limits{Max: time.Minute}}
		for range 3 {
			if rtcp {
				s.receiveRTCP(b, netip.AddrPort{}, arrival{})
			} else {
				s.receiveRTP(b, netip.AddrPort{}, arrival{})
			}
		}
		if len(s.record.b) > 60*8000 || len(s.in.sources) > maxSources || len(s.in.noted) > 4 {
			t.Fatal("it grows without bound")
		}
	})
}

// A packet that comes again, is altered, has another key or none is not heard,
// and the event says which; a good one with a master key identifier is.
func TestSRTPRefusals(t *testing.T) {
	ours, theirs := bytes.Repeat([]byte{1}, MasterLength), bytes.Repeat([]byte{2}, MasterLength)
	log := trace.New(trace.Config{})
	e := newTestEngine(t, 0, 0)
	s, err := e.Open(loopback, trace.Session{Kind: "call", N: 1}, log.Source("mbx1", "um-worker"))
	require.NoError(t, err)
	peer, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer peer.Close()
	remote := netip.MustParseAddrPort(peer.LocalAddr().String())
	params := Params{Remote: remote, Codec: PCMU, Send: true, Receive: true, Continuous: true, Crypto: &Crypto{Suite: "AES_CM_128_HMAC_SHA1_80", Send: ours, Receive: theirs, ReceiveMKI: []byte{0, 1}}}
	require.NoError(t, s.Start(params))

	packet := func(seq uint16, key []byte, options ...srtp.ContextOption) []byte {
		c, err := srtp.CreateContext(key[:16], key[16:], srtp.ProtectionProfileAes128CmHmacSha1_80, options...)
		require.NoError(t, err)
		p := pion.Packet{Header: pion.Header{Version: 2, SequenceNumber: seq, SSRC: 9}, Payload: make([]byte, 160)}
		plain, err := p.Marshal()
		require.NoError(t, err)
		b, err := c.EncryptRTP(nil, plain, nil)
		require.NoError(t, err)
		return b
	}
	b := make([]byte, 1500) // what we send opens with our key
	require.NoError(t, peer.SetReadDeadline(time.Now().Add(10*time.Second)))
	n, _, err := peer.ReadFrom(b)
	require.NoError(t, err)
	c, err := srtp.CreateContext(ours[:16], ours[16:], srtp.ProtectionProfileAes128CmHmacSha1_80)
	require.NoError(t, err)
	_, err = c.DecryptRTP(nil, b[:n], nil)
	require.NoError(t, err)

	mki := srtp.MasterKeyIndicator([]byte{0, 1})
	good := packet(1, theirs, mki)
	altered := packet(2, theirs, mki)
	altered[20] ^= 1
	clear := append([]byte{0x80, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 9}, make([]byte, 160)...)
	for _, b := range [][]byte{good, good, altered, packet(3, ours, mki), clear, {0x80, 0}} {
		_, err := peer.WriteTo(b, net.UDPAddrFromAddrPort(s.Addr()))
		require.NoError(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var got []string
	for e := range log.Follow(ctx) {
		if e.Name == "rtp.ignored" {
			got = append(got, e.Text("why"))
		}
		if len(got) == 4 {
			break
		}
	}
	require.Equal(t, []string{
		"SRTP: a packet that was here before", "SRTP: not authentic: another key, in clear, or altered on the way",
		"SRTP: a master key identifier that was not agreed on", "SRTP: too short or malformed",
	}, got)
	bad := params
	bad.Crypto = &Crypto{Suite: "NULL", Send: ours, Receive: theirs}
	require.ErrorContains(t, s.Start(bad), `suite "NULL" is not known`)
	s.Close()
	require.NoError(t, log.Close())
	for e := range log.Events() {
		if e.Name == "rtp.ended" && e.Text("direction") == "received" {
			require.EqualValues(t, 1, e.Int("packets"))
		}
	}
}

// A new key of the peer does not begin our own counters anew, neither those of
// SRTP nor of SRTCP: the same key must never cover two packets in one way.
func TestRekey(t *testing.T) {
	s := &Stream{ssrc: 9}
	keys := func(send, receive byte) *Crypto {
		return &Crypto{Suite: "AES_CM_128_HMAC_SHA1_80", Send: bytes.Repeat([]byte{send}, MasterLength), Receive: bytes.Repeat([]byte{receive}, MasterLength)}
	}
	report, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 9}})
	require.NoError(t, err)
	start := func(c *Crypto) {
		require.NoError(t, s.key(c))
		s.params.Crypto = c
	}
	start(keys(1, 2))
	send := func(seq uint16) {
		p := pion.Packet{Header: pion.Header{Version: 2, SequenceNumber: seq, SSRC: 9}, Payload: make([]byte, 160)}
		plain, err := p.Marshal()
		require.NoError(t, err)
		_, err = s.seal(plain, false)
		require.NoError(t, err)
	}
	send(65535)
	send(0)
	_, err = s.seal(report, true)
	require.NoError(t, err)
	before, _ := s.srtp.out.Index(9)
	start(keys(1, 3))
	after, _ := s.srtp.out.Index(9)
	require.Equal(t, before, after)
	for _, c := range []*Crypto{keys(1, 3), keys(4, 3)} {
		start(c)
		roc, _ := s.srtp.out.ROC(9)
		require.EqualValues(t, 1, roc)
	}
}

// What comes in while nobody reads is counted as our own loss.
func TestUnread(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the system does not tell")
	}
	e, err := New(Config{Loops: 1, Listen: func(at netip.AddrPort) (net.PacketConn, error) {
		pc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		if err == nil {
			err = pc.SetReadBuffer(1) // the least that the system gives
		}
		return pc, err
	}})
	require.NoError(t, err)
	defer e.Close()
	log := trace.New(trace.Config{})
	s, err := e.Open(loopback, trace.Session{}, log.Source("h", "l"))
	require.NoError(t, err)
	reading, on := make(chan struct{}), make(chan struct{})
	peer, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.Addr()))
	require.NoError(t, err)
	defer peer.Close()
	require.NoError(t, s.Start(Params{Remote: netip.MustParseAddrPort(peer.LocalAddr().String()), EventsPT: 101, Receive: true, OnDigit: func(byte) {
		close(reading)
		<-on // the loop stands still
	}}))
	digit, err := (&pion.Packet{Header: pion.Header{Version: 2, PayloadType: 101, SequenceNumber: 1}, Payload: []byte{5, 10, 0, 160}}).Marshal()
	require.NoError(t, err)
	_, err = peer.Write(digit)
	require.NoError(t, err)
	<-reading
	for range 200 {
		_, err = peer.Write(make([]byte, 172))
		require.NoError(t, err)
	}
	open := e.Exactness().Unread
	require.Positive(t, open)
	close(on)
	s.Close()
	require.GreaterOrEqual(t, e.Exactness().Unread, open, "what a closed socket has lost stays counted")
	require.NoError(t, log.Close())
}

// The media of a call come from where they were agreed on, or from the first
// address; what somebody else sends to the port counts for nothing.
func TestFollows(t *testing.T) {
	agreed, nat, other := netip.MustParseAddrPort("10.0.0.1:4000"), netip.MustParseAddrPort("10.0.0.2:5000"), netip.MustParseAddrPort("10.0.0.3:6000")
	r := &reception{}
	require.True(t, r.follows(nat, agreed))
	require.False(t, r.follows(other, agreed))
	require.True(t, r.follows(nat, agreed))
	require.True(t, r.follows(agreed, agreed), "the address agreed on has the last word")
	require.False(t, r.follows(nat, agreed))
}

// What has come before a stream is closed belongs to its recording, also where
// the loop has not read it yet.
func TestCloseHearsTheLast(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("one socket, one goroutine: there the order is the goroutine's")
	}
	e, err := New(Config{Loops: 1})
	require.NoError(t, err)
	defer e.Close()
	log := trace.New(trace.Config{})
	src := log.Source("h", "l")
	busy, err := e.Open(loopback, trace.Session{}, src)
	require.NoError(t, err)
	s, err := e.Open(loopback, trace.Session{}, src)
	require.NoError(t, err)
	peer, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	require.NoError(t, err)
	defer peer.Close()
	remote := netip.MustParseAddrPort(peer.LocalAddr().String())
	reading, on := make(chan struct{}), make(chan struct{})
	require.NoError(t, busy.Start(Params{Remote: remote, EventsPT: 101, Receive: true, OnDigit: func(byte) {
		close(reading)
		<-on // the loop stands still
	}}))
	require.NoError(t, s.Start(Params{Remote: remote, Receive: true}))
	recorded := make(chan Recording, 1)
	s.Record(Limits{Max: time.Minute, Idle: time.Minute}, func(r Recording, _ Stopped) { recorded <- r })
	digit, err := (&pion.Packet{Header: pion.Header{Version: 2, PayloadType: 101, SequenceNumber: 1}, Payload: []byte{5, 10, 0, 160}}).Marshal()
	require.NoError(t, err)
	_, err = peer.WriteTo(digit, net.UDPAddrFromAddrPort(busy.Addr()))
	require.NoError(t, err)
	<-reading
	audio, err := (&pion.Packet{Header: pion.Header{Version: 2, SequenceNumber: 1, SSRC: 7}, Payload: bytes.Repeat([]byte{0x55}, 160)}).Marshal()
	require.NoError(t, err)
	_, err = peer.WriteTo(audio, net.UDPAddrFromAddrPort(s.Addr()))
	require.NoError(t, err)
	s.Close()
	require.Contains(t, string((<-recorded).Octets), strings.Repeat("\x55", 160))
	close(on)
	require.NoError(t, log.Close())
}
