package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/rtp"
	"github.com/exsim/exsim/sim"
	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sip"
)

// robot stands at a device: it reads what exsim run asks for, and does that at
// the telephones of a telephone system behind the device.
type robot struct {
	t       *testing.T
	system  *gateway.Gateway // the telephones
	trunk   netip.AddrPort   // the device
	actions sync.WaitGroup

	placing sync.Mutex // one call after the other: who stands there hears that the first is up

	mu     sync.Mutex
	late   bool           // the next call is to have no offer
	refuse map[string]int // telephones that do not take calls
	lines  map[string]chan string
}

// newRobot starts a telephone system.
func newRobot(t *testing.T, at netip.Addr, trunk netip.AddrPort) *robot {
	t.Helper()
	r := &robot{t: t, trunk: trunk, refuse: map[string]int{}, lines: map[string]chan string{}}
	log := trace.New(trace.Config{})
	var err error
	r.system, err = gateway.Start(gateway.Config{
		Name: "telephones", Address: at, Calls: sip.NewCalls(), Trace: log, Rand: sim.Chance(7), Dial: sim.Dial, Answers: true,
		Listen: func(at netip.AddrPort) (net.Listener, error) { return net.Listen("tcp", at.String()) },
		ListenPacket: func(at netip.AddrPort) (net.PacketConn, error) {
			return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		},
		Behind: trunk.Addr(),
		Telephone: func(number string) int {
			r.mu.Lock()
			defer r.mu.Unlock()
			if status := r.refuse[number]; status != 0 {
				return status
			}
			return 200
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		r.actions.Wait()
		require.NoError(t, r.system.Close())
		require.NoError(t, log.Close())
	})
	return r
}

// prompts end a question, which has no line of its own.
var prompts = []string{"to begin, n REASON if it is not applicable, q to stop here: ", "run it once more: "}

// said splits what exsim says into lines and questions.
func said(data []byte, atEOF bool) (advance int, token []byte, err error) {
	end := bytes.IndexByte(data, '\n') + 1
	for _, p := range prompts {
		if i := bytes.Index(data, []byte(p)); i >= 0 && (end == 0 || i+len(p) < end) {
			end = i + len(p)
		}
	}
	if end == 0 && atEOF {
		end = len(data)
	}
	if end == 0 {
		return 0, nil, nil
	}
	return end, data[:end], nil
}

// stand runs exsim and obeys it. Before each case the device is set up as the
// case wants it.
func (r *robot) stand(args []string, setUp func(conditions string)) (code int, out string) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 15*time.Minute)
	defer cancel()
	c := exsim(ctx, args...)
	var result bytes.Buffer
	c.Stdout = &result
	errs, err := c.StderrPipe()
	require.NoError(r.t, err)
	keys, err := c.StdinPipe()
	require.NoError(r.t, err)
	require.NoError(r.t, c.Start())
	lines := bufio.NewScanner(errs)
	lines.Split(said)
	conditions, transcript := "", strings.Builder{}
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\n")
		_, now, isNow := strings.Cut(line, "NOW: ")
		condition, wants := strings.CutPrefix(line, "  it wants: ")
		switch {
		case isNow:
			r.hand(ctx, now)
		case wants:
			conditions += condition + "\n"
		case strings.HasSuffix(line, prompts[0]):
			r.prepare(conditions)
			setUp(conditions)
			conditions = ""
			_, err = io.WriteString(keys, "\n")
			require.NoError(r.t, err)
		case strings.HasSuffix(line, prompts[1]):
			_, _ = io.WriteString(keys, "\n")
		}
		transcript.WriteString(line + "\n")
	}
	_ = c.Wait()
	cancel()
	r.actions.Wait()
	if r.t.Failed() {
		r.t.Log(transcript.String())
	}
	return c.ProcessState.ExitCode(), result.String()
}

// prepare sets the telephones as a case wants them, and hangs up all.
func (r *robot) prepare(conditions string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.late = strings.Contains(conditions, "late offer")
	clear(r.refuse)
	for _, m := range regexp.MustCompile(`telephone (\d+) does not take calls`).FindAllStringSubmatch(conditions, -1) {
		r.refuse[m[1]] = 486
	}
}

var (
	callsExtension = regexp.MustCompile(`^call extension (\d+) from (\d+), (.*), so that the call comes to (\d+)`)
	callsPilot     = regexp.MustCompile(`^call (\d+) from (\d+)`)
	ofCall         = regexp.MustCompile(`\(\w+, (call \d+) of \d+\)`)
	talks          = regexp.MustCompile(`talk for (\S+)`)
	presses        = regexp.MustCompile(`^press (\S+)`)
)

// reasons of a diversion, by what the telephone does.
var reasons = map[string]string{"let it ring out": "no-answer", "while it is busy": "user-busy"}

// hand gives an instruction to the telephone that it is for: one that begins to
// call, that takes a call, or that is in one already. Each does one thing after
// the other.
func (r *robot) hand(ctx context.Context, now string) {
	line := "call 1"
	if m := ofCall.FindStringSubmatch(now); m != nil {
		line = m[1]
	}
	opens := callsExtension.MatchString(now) || callsPilot.MatchString(now) || strings.HasPrefix(now, "take the call that")
	if opens || r.lines[line] == nil {
		todo := make(chan string, 32)
		r.lines[line] = todo
		r.actions.Go(func() { r.telephone(ctx, todo) })
	}
	r.lines[line] <- now
}

// telephone does what it is told, in one call.
func (r *robot) telephone(ctx context.Context, todo chan string) {
	var c *gateway.Call
	for {
		select {
		case now := <-todo:
			ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
			if c == nil {
				c = r.open(ctx, now)
			} else {
				r.act(ctx, c, now)
			}
			cancel()
		case <-ctx.Done():
			return
		}
	}
}

// open calls, or takes a call; nil if none came up, which exsim will tell.
func (r *robot) open(ctx context.Context, now string) *gateway.Call {
	r.mu.Lock()
	p := gateway.CallParams{Routers: []netip.AddrPort{r.trunk}, LateOffer: r.late}
	r.mu.Unlock()
	if m := callsExtension.FindStringSubmatch(now); m != nil {
		p.Dial, p.Diverted, p.Caller, p.Reason = m[4], m[1], m[2], cmp.Or(reasons[m[3]], "unconditional")
	} else if m := callsPilot.FindStringSubmatch(now); m != nil {
		p.Dial, p.Caller = m[1], m[2]
	}
	var c *gateway.Call
	var err error
	switch {
	case p.Dial != "":
		r.placing.Lock()
		c, err = r.system.Call(ctx, p)
		r.placing.Unlock()
	case strings.HasPrefix(now, "take the call"):
		c, err = r.system.Answer(ctx, 200, true)
	default:
		return nil // the device itself is to do something
	}
	if err != nil {
		return nil
	}
	return c
}

// act does something in a call. What fails is for exsim to notice.
func (r *robot) act(ctx context.Context, c *gateway.Call, now string) {
	switch {
	case talks.MatchString(now):
		length, err := time.ParseDuration(talks.FindStringSubmatch(now)[1])
		require.NoError(r.t, err)
		if strings.HasPrefix(now, "wait for the tone") {
			r.awaitTone(ctx, c)
		}
		_ = c.Talk(ctx, length+200*time.Millisecond)
	case presses.MatchString(now):
		_ = c.Digits(ctx, presses.FindStringSubmatch(now)[1])
	case strings.HasPrefix(now, "hang up"):
		_ = c.Hangup(ctx)
	case strings.HasPrefix(now, "put the call on hold"):
		_ = c.Offer(ctx, "sendonly")
	case strings.HasPrefix(now, "take the call back"):
		_ = c.Offer(ctx, "sendrecv")
	case strings.HasPrefix(now, "let a fax machine call"):
		_ = c.Fax(ctx, strings.Contains(now, "event 36"))
	case strings.HasPrefix(now, "let the device offer T.38"):
		_ = c.OfferFax(ctx)
	}
}

// awaitTone listens until Unified Messaging's tone is heard.
func (r *robot) awaitTone(ctx context.Context, c *gateway.Call) {
	tone := rtp.Tone(rtp.PCMU, 1000, 20*time.Millisecond)[:80]
	for ctx.Err() == nil {
		heard := c.Listen()
		some, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		err := c.Wait(some)
		cancel()
		if bytes.Contains(heard(), tone) || err == nil { // or it is over
			return
		}
	}
}

// Whoever stands at the device says when a case begins, runs it once more, leaves
// it out, or stops; what came of each attempt is kept.
func TestSuiteAsks(t *testing.T) {
	args := []string{"run", "um-validation", "--device", "external", "--ask", "--only", "1.1,1.2,1.3", "--patience", "100ms", "--port-offset", "28000", "--json", "-"}
	for _, tt := range []struct {
		name, typed string
		code        int
		want        string
		runs        int
	}{
		{"again, and then enough", "\nr\nq\n", exitFailed, "1.1 was not passed", 2},
		{"not applicable behind a failure", "\nn no such telephone\nq\n", exitInterrupted, "without a failure so far", 1},
		{"nonsense", "what\nq\n", exitInterrupted, `"what" is no answer`, 0},
		{"nobody", "", exitInput, "nobody answers", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := exsim(t.Context(), args...)
			var out, errs bytes.Buffer
			c.Stdin, c.Stdout, c.Stderr = strings.NewReader(tt.typed), &out, &errs
			_ = c.Run()
			require.Equal(t, tt.code, c.ProcessState.ExitCode(), errs.String())
			require.Equal(t, tt.runs, strings.Count(out.String(), `"name": "1.1-voice-message"`), out.String())
			require.Contains(t, errs.String(), tt.want)
		})
	}
}
