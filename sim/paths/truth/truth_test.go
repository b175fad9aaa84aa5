package truth

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/paths"
	"github.com/exsim/exsim/sim/paths/record"
)

const text = `plan: 1
name: t
exchange: "2013"
zones: [{name: a, kind: internal}, {name: b, kind: internal}]
hosts:
  - {name: gw, zone: a, roles: [voip-gateway], addresses: [10.0.0.1]}
  - {name: ex, zone: b, roles: [client-access, mailbox], addresses: [10.0.0.2]}
rtp: {low: 20000, high: 20009}
closed: {sample: 2}
`

func plan(t *testing.T) *paths.Plan {
	t.Helper()
	p, err := paths.Load("plan.yaml", []byte(text))
	require.NoError(t, err)
	return p
}

func set(t *testing.T, ports string) paths.PortSet {
	t.Helper()
	var s paths.PortSet
	require.NoError(t, s.UnmarshalText([]byte(ports)))
	return s
}

// lines are the records of a run about one flow.
func lines(t *testing.T, p *paths.Plan, sent *record.Sent, got *record.Got, bound *record.Bound) []record.Line {
	t.Helper()
	list := []record.Line{{Host: "gw", Head: &record.Head{Format: 1, Digest: p.Digest()}}}
	if sent != nil {
		list = append(list, record.Line{Host: "gw", Sent: sent})
	}
	if bound != nil {
		list = append(list, record.Line{Host: "ex", Bound: bound})
	}
	if got != nil {
		list = append(list, record.Line{Host: "ex", Got: got})
	}
	return append(list, record.Line{Host: "gw", End: &record.End{How: "done"}})
}

func result(t *testing.T, p *paths.Plan, flow string, sent *record.Sent, got *record.Got, bound *record.Bound) Result {
	t.Helper()
	table, err := Judge(p, lines(t, p, sent, got, bound))
	require.NoError(t, err)
	for _, r := range table.Results {
		if r.Flow.ID == flow {
			return r
		}
	}
	t.Fatalf("no result of %s", flow)
	return Result{}
}

// What both ends saw of a TCP port has one verdict.
func TestVerdictsTCP(t *testing.T) {
	p := plan(t)
	const flow = "gw>ex tcp/5060"
	port := set(t, "5060")
	for name, tt := range map[string]struct {
		sent    record.Sent
		got     *record.Got
		verdict Verdict
		level   Level
	}{
		"answered":              {record.Sent{Answered: port}, &record.Got{Arrived: port, Accepted: port}, IsOpen, Pass},
		"nothing":               {record.Sent{}, &record.Got{}, IsDropped, Fail},
		"refused":               {record.Sent{Refused: port}, &record.Got{}, IsRefused, Fail},
		"barred":                {record.Sent{Barred: port}, &record.Got{}, IsRefused, Fail},
		"reset":                 {record.Sent{Reset: port}, &record.Got{}, IsReset, Fail},
		"taken by another":      {record.Sent{Silent: port}, &record.Got{}, Intercepted, Fail},
		"answered by another":   {record.Sent{Served: port}, &record.Got{}, Intercepted, Fail},
		"connected, no more":    {record.Sent{Silent: port}, &record.Got{Accepted: port}, IsSilent, Fail},
		"arrived, no answer":    {record.Sent{Silent: port}, &record.Got{Accepted: port, Arrived: port}, IsSilent, Fail},
		"arrived as another":    {record.Sent{Silent: port}, &record.Got{Accepted: port, Other: port}, Altered, Fail},
		"answer replaced":       {record.Sent{Served: port}, &record.Got{Accepted: port, Arrived: port}, Altered, Fail},
		"SYN-ACK lost":          {record.Sent{}, &record.Got{Half: port}, OneWay, Fail},
		"not sent":              {record.Sent{Failed: map[string]paths.PortSet{"no route": port}}, &record.Got{}, Unknown, Unproven},
		"alone, answered":       {record.Sent{Answered: port}, nil, IsOpen, Pass},
		"alone, something else": {record.Sent{Served: port}, nil, Wrong, Fail},
	} {
		tt.sent.Flow, tt.sent.Tried = flow, port
		bound := &record.Bound{Flow: flow, Ports: port}
		if tt.got == nil {
			bound = nil
		} else {
			tt.got.Flow = flow
		}
		r := result(t, p, flow, &tt.sent, tt.got, bound)
		require.Equal(t, tt.verdict, r.Verdict, name)
		require.Equal(t, tt.level, r.Level, name)
		require.NotEmpty(t, r.Cause, name)
	}
}

// A port that was not listened on proves nothing, and one that is held is
// judged by what it says.
func TestVerdictsWithoutListener(t *testing.T) {
	p := plan(t)
	const flow = "gw>ex tcp/5060"
	port := set(t, "5060")
	failed := &record.Bound{Flow: flow, Failed: map[string]paths.PortSet{"no privilege": port}}
	r := result(t, p, flow, &record.Sent{Flow: flow, Tried: port, Refused: port}, &record.Got{Flow: flow}, failed)
	require.Equal(t, Unknown, r.Verdict)
	require.Contains(t, r.Cause, "no privilege")
	held := &record.Bound{Flow: flow, Held: port}
	speaks := func(text string) Verdict {
		s := &record.Sent{Flow: flow, Tried: port, Served: port, Stream: &record.Stream{Received: []byte(text)}}
		return result(t, p, flow, s, &record.Got{Flow: flow}, held).Verdict
	}
	require.Equal(t, Real, speaks("SIP/2.0 200 OK\r\n"))
	require.Equal(t, Wrong, speaks("SSH-2.0-x\r\n"))
}

// UDP is never judged from one end, and a range has its gaps.
func TestVerdictsUDP(t *testing.T) {
	p := plan(t)
	const flow = "gw>ex udp/20000-20009"
	all := set(t, "20000-20009")
	r := result(t, p, flow, &record.Sent{Flow: flow, Tried: all}, nil, nil)
	require.Equal(t, Unknown, r.Verdict)
	bound := &record.Bound{Flow: flow, Ports: all}
	r = result(t, p, flow, &record.Sent{Flow: flow, Tried: all, Answered: set(t, "20000-20003"), Refused: set(t, "20009")},
		&record.Got{Flow: flow, Arrived: set(t, "20000-20005")}, bound)
	require.Equal(t, Partly, r.Verdict)
	parts := map[Verdict]string{}
	for _, x := range r.Parts {
		parts[x.Verdict] = x.Ports.String()
	}
	require.Equal(t, map[Verdict]string{IsOpen: "20000-20003", OneWay: "20004-20005", IsDropped: "20006-20008", IsRefused: "20009"}, parts)
	require.Equal(t, "add: accept udp from 10.0.0.1 to 10.0.0.2 port 20004-20009", r.Rule)
	r = result(t, p, flow, &record.Sent{Flow: flow, Tried: all, Answered: all, Slowly: set(t, "20002-20009")}, &record.Got{Flow: flow, Arrived: all}, bound)
	require.Equal(t, Limited, r.Verdict)
	require.Equal(t, Warn, r.Level)
	r = result(t, p, flow, &record.Sent{Flow: flow, Tried: all, Answered: all, From: addrs("10.0.0.1:5")}, &record.Got{Flow: flow, Arrived: all, From: addrs("192.0.2.1:9"), Sources: 1}, bound)
	require.Equal(t, Pass, r.Level)
	require.Contains(t, strings.Join(r.Evidence, "\n"), "NAT: 10.0.0.1 is seen as 192.0.2.1, with other ports")
	r = result(t, p, flow, &record.Sent{Flow: flow, Tried: all, Answered: all, From: addrs("10.0.0.1:5")}, &record.Got{Flow: flow, Arrived: all, From: addrs("192.0.2.1:5", "192.0.2.2:5"), Sources: 2}, bound)
	require.Contains(t, strings.Join(r.Evidence, "\n"), "NAT: 10.0.0.1 is seen as 192.0.2.1, 192.0.2.2, which is not stable")
}

// A range of which only a part was tried is not proven, and a listener that did
// not tell what arrived is no proof that nothing did.
func TestPartOfARun(t *testing.T) {
	p := plan(t)
	const flow = "gw>ex udp/20000-20009"
	part := set(t, "20000-20004")
	bound := &record.Bound{Flow: flow, Ports: set(t, "20000-20009")}
	r := result(t, p, flow, &record.Sent{Flow: flow, Tried: part, Answered: part}, &record.Got{Flow: flow, Arrived: part}, bound)
	require.Equal(t, Unproven, r.Level)
	require.Contains(t, r.Cause, "cut short: not tried were ports 20005-20009")
	r = result(t, p, flow, &record.Sent{Flow: flow, Tried: set(t, "20000-20009")}, nil, bound)
	require.Equal(t, Unproven, r.Level)
	require.Contains(t, r.Cause, "did not tell what arrived")
	r = result(t, p, flow, &record.Sent{Flow: flow, Tried: set(t, "20000-20009"), Answered: set(t, "20000-20009")}, &record.Got{Flow: flow}, bound)
	require.Equal(t, Intercepted, r.Verdict, "answered, and never seen by the far end")
}

// A later probe of a port counts in the place of an earlier one.
func TestLaterCounts(t *testing.T) {
	p := plan(t)
	const flow = "gw>ex tcp/5060"
	port := set(t, "5060")
	old := record.Sent{Flow: flow, At: time.Unix(1, 0), Tried: port, Answered: port}
	now := record.Sent{Flow: flow, At: time.Unix(2, 0), Tried: port, Refused: port}
	for _, order := range [][]record.Sent{{old, now}, {now, old}} {
		list := lines(t, p, &order[0], &record.Got{Flow: flow}, &record.Bound{Flow: flow, Ports: port})
		list = append(list, record.Line{Host: "gw", Sent: &order[1]})
		table, err := Judge(p, list)
		require.NoError(t, err)
		require.Equal(t, IsRefused, table.Results[0].Verdict)
	}
}

// A probe that arrives where it must not is a failure even where no answer
// comes back.
func TestVerdictsClosed(t *testing.T) {
	p := plan(t)
	flows, _ := p.Flows()
	for _, f := range flows {
		if f.Expect != paths.Closed || f.Transport != "udp" || f.Kind != paths.Undocumented || f.From.Name != "gw" {
			continue
		}
		one := paths.Ports(f.Ports.First())
		bound := &record.Bound{Flow: f.ID, Ports: f.Ports}
		r := result(t, p, f.ID, &record.Sent{Flow: f.ID, Tried: f.Ports}, &record.Got{Flow: f.ID, Arrived: one}, bound)
		require.Equal(t, Fail, r.Level)
		require.Contains(t, r.Cause, "ex was reached on port "+one.String())
		r = result(t, p, f.ID, &record.Sent{Flow: f.ID, Tried: f.Ports, Refused: one}, &record.Got{Flow: f.ID}, bound)
		require.Equal(t, Pass, r.Level)
		return
	}
	t.Fatal("no such flow")
}

func addrs(list ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range list {
		out = append(out, netip.MustParseAddrPort(a))
	}
	return out
}

// A record of another plan is refused, a part of one is told as such.
func TestRecords(t *testing.T) {
	p := plan(t)
	_, err := Judge(p, []record.Line{{Host: "gw", Head: &record.Head{Format: 1, Digest: "x", Plan: "other"}}})
	require.ErrorContains(t, err, "is of another plan than this file (other)")
	table, err := Judge(p, []record.Line{{Host: "gw", Head: &record.Head{Format: 1, Digest: p.Digest()}}})
	require.NoError(t, err)
	require.Equal(t, []string{"gw"}, table.Interrupted)
	var b bytes.Buffer
	require.NoError(t, table.Text(&b))
	require.Contains(t, b.String(), "INCOMPLETE: the record of gw was cut short")
}

// The table is whole in each of its forms, and its JUnit XML is valid.
func TestForms(t *testing.T) {
	p := plan(t)
	const flow = "gw>ex tcp/5060"
	port := set(t, "5060")
	list := lines(t, p, &record.Sent{Flow: flow, Tried: port}, &record.Got{Flow: flow}, &record.Bound{Flow: flow, Ports: port})
	list = append(list, record.Line{Host: "gw", Rate: &record.Rate{Flows: 3, Limit: 200, Open: 2, Seconds: 1.5, Sampled: true}})
	table, err := Judge(p, list)
	require.NoError(t, err)
	require.True(t, table.Failed())
	var b bytes.Buffer
	require.NoError(t, table.Text(&b))
	require.Contains(t, b.String(), "FAIL      gw    ex  tcp/5060 ")
	require.Contains(t, b.String(), "gw began 3 flows (at most 200 a second), 2 open at once, in 1.5 s; large ranges by a sample")
	b.Reset()
	require.NoError(t, table.JSON(&b))
	var out struct {
		Failed bool
		Flows  []map[string]any
	}
	require.NoError(t, json.Unmarshal(b.Bytes(), &out))
	require.True(t, out.Failed)
	require.Len(t, out.Flows, len(table.Results))
	b.Reset()
	require.NoError(t, table.CSV(&b))
	require.Contains(t, b.String(), "open,dropped,open expected,network")
	require.Equal(t, len(table.Results)+1, strings.Count(b.String(), "\n"))
	b.Reset()
	require.NoError(t, table.JUnit(&b))
	file := filepath.Join(t.TempDir(), "junit.xml")
	require.NoError(t, os.WriteFile(file, b.Bytes(), 0o600))
	lint, err := exec.LookPath("xmllint")
	if err != nil {
		t.Skip("peer xmllint is not installed: sudo make peers")
	}
	said, err := exec.Command(lint, "--noout", file).CombinedOutput()
	require.NoError(t, err, "%s", said)
}

// Records are read back as they were written, and a last line that was cut off
// is left out.
func TestReadRecord(t *testing.T) {
	var b bytes.Buffer
	l := record.NewLog(&b)
	l.Add(record.Line{Host: "gw", Head: &record.Head{Format: 1, Plan: "p", Started: time.Now().UTC()}})
	l.Add(record.Line{Host: "gw", Sent: &record.Sent{Flow: "gw>ex udp/1-9", Tried: paths.PortsBetween(1, 9), Answered: paths.Ports(1, 2, 5)}})
	require.NoError(t, l.Err())
	require.Contains(t, b.String(), `"flow":"gw>ex udp/1-9"`)
	got, err := record.Read("r", strings.NewReader(b.String()+`{"host":"gw","se`))
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, "1-2,5", got[1].Sent.Answered.String())
	_, err = record.Read("r", strings.NewReader("{}\n"))
	require.ErrorContains(t, err, "its first line is no head")
	_, err = record.Read("r", strings.NewReader(b.String()+"{\n"+b.String()))
	require.ErrorContains(t, err, "r:3: no line of a record")
}
