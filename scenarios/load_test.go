package scenarios

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/trace"
	"github.com/exsim/exsim/sim/yamlfile"
)

// A file with many different mistakes gets them all, each with its place.
func TestEveryMistake(t *testing.T) {
	_, err := Load("bad.yaml", []byte(`version: 2
name: bad
organisation: {domain: x.lab, rtp: {low: 5, high: 4}}
actors:
  gw: {role: ip-gatewy, address: 127.0.0.30}
  idle: {role: ip-gateway, address: 127.0.0.31}
steps:
  - call: {id: c1, from: gx, dial: "4000", outcome: maybe}
  - call: {id: c1, from: gw, dial: "4000"}
  - expect: {event: um.recordet, call: c2, within: 5}
  - expect: {event: um.recorded, where: {by: {equals: key}}}
  - expect: {event: um.recorded, where: {by: {matches: "("}}}
  - talk: {call: c1, for: 1h}
  - dtmf: {call: c1, digits: "12x"}
  - mail: {to: "4021", audio: same}
  - dance: {}
  - [call]
never: [{event: nothing.at.all}, {event: um.answered, where: {mailbx: x}}, {event: um.answered, at: um-wrker}]
faults: [{actor: gw, do: drop-diversions}, {actor: gv, do: no-media}]
catches: [{actor: gw, do: no-media, address: 127.0.0.9}, {actor: gw, do: other-certificate, certificate: expird}]
`), nil)
	var all yamlfile.Errors
	require.True(t, errors.As(err, &all))
	for _, want := range []string{
		"bad.yaml:1:10: version 2", "bad.yaml:3:36: rtp: 5-4", `role: "ip-gatewy"`, `actor "idle" is not used`,
		`no actor is named "gx"`, `outcome: "maybe"`, `call id "c1" stands twice`, `no event is named "um.recordet"`, `id "c2"`, `"5" is no span of time`,
		`unknown condition "equals"`, "matches: error parsing regexp", "for is at most 10m", `digits "12x"`, `audio "same"`, `unknown verb "dance"`,
		"a step is one verb", `um.answered has no field "mailbx"`, `no listener and no host is named "um-wrker"`, `"nothing.at.all"`, `did you mean "drop-diversion"?`, `no actor and no server is named "gv"`, "fault no-media: address is not its setting", `unknown certificate "expird"`,
	} {
		require.Contains(t, err.Error(), want)
	}
	for _, e := range all {
		require.Positive(t, e.Pos.Line, e.Error())
	}
}

func TestMatchers(t *testing.T) {
	e := &trace.Event{Name: "x", Raw: []byte("INVITE sip:x SIP/2.0\r\nDiversion: <tel:4021>\r\n ;reason=no-answer\r\nX: 1\r\n\r\nbody: no\r\nm=audio 5004 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n"),
		Fields: []trace.Field{{Key: "n", Value: int64(5)}, {Key: "ok", Value: true}, {Key: "s", Value: "abc"}}}
	for text, want := range map[string]bool{
		"{event: x, where: {n: 5, ok: \"true\", s: abc}}":                                 true,
		"{event: x, where: {n: 05}}":                                                      false,
		"{event: x, where: {n: {min: 5, max: 5}}}":                                        true,
		"{event: x, where: {n: {min: 5.5}}}":                                              false,
		"{event: x, where: {s: {min: 1}}}":                                                false,
		"{event: x, where: {s: {in: [x, abc]}}}":                                          true,
		"{event: x, where: {s: {matches: '^a.c$'}}}":                                      true,
		"{event: x, where: {s: {is: abcd}}}":                                              false,
		"{event: x, where: {t: {present: false}}}":                                        true,
		"{event: x, where: {t: {absent: true}, s: {present: true}}}":                      true,
		"{event: x, where: {t: x}}":                                                       false,
		"{event: y}":                                                                      false,
		"{event: x, header: {diversion: {matches: 'tel:4021> ;reason=no-answer'}, x: 1}}": true,
		"{event: x, header: {body: no}}":                                                  false,
		"{event: x, body: {matches: 'm=audio 5004'}}":                                     true,
		"{event: x, body: {matches: video}}":                                              false,
		"{event: x, sdp: {m: 'audio 5004 RTP/AVP 0', ptime: 20, sendrecv: {present: true}, rtpmap: {matches: PCMU}}}": true,
		"{event: x, sdp: {crypto: {absent: true}}}":  true,
		"{event: x, sdp: {crypto: {present: true}}}": false,
		"{event: x, sdp: {c: {matches: IP6}}}":       false,
	} {
		var m Matcher
		f, err := yamlfile.Load("m.yaml", []byte(text), &m)
		require.NoError(t, err, text)
		for key, v := range m.Where {
			v.compile(f)
			m.Where[key] = v
		}
		for key, v := range m.Header {
			v.compile(f)
			m.Header[key] = v
		}
		for key, v := range m.SDP {
			v.compile(f)
			m.SDP[key] = v
		}
		m.Body.compile(f)
		ok, _, why := m.matches(e, nil)
		require.Equal(t, want, ok, "%s: %s", text, why)
	}
}

func FuzzLoad(f *testing.F) {
	for _, name := range Shipped() {
		text, _ := ShippedText(name)
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := Load("x.yaml", []byte(text), nil); err == nil && !strings.Contains(text, "steps") {
			t.Fatal("a scenario without steps")
		}
	})
}

// Mistakes in faults, parallel steps and raw messages are told at their place.
func TestMistakesOfFaults(t *testing.T) {
	_, err := Load("bad.yaml", []byte(`version: 1
name: bad
actors:
  gw: {role: ip-gateway, address: 127.0.0.30, between: relay}
  relay: {role: mail-host, address: 127.0.0.60, media: srtp}
  box: {role: middlebox, address: 127.0.0.61, between: relai}
faults:
  - {actor: gw, do: rtp-los, percent: 10}
  - {actor: gw, do: rtp-loss, percent: 10, nth: 3}
  - {actor: gw, do: rtp-jitter}
  - {actor: gw, do: no-diversion, nth: 2}
  - {actor: relay, do: rtp-loss}
  - {actor: CAS1, do: status, status: 200}
  - {actor: CAS1, do: status, status: 503, at: call-rooter}
  - {actor: CAS1, do: reply, of: message, reply: no}
  - {actor: box, do: rewrite, value: x}
  - {actor: gw, do: split, octet: 5, header: Via}
  - {actor: gw, do: rtp-loss, percent: 101}
  - {actor: gw, do: silence, at: call-router}
steps:
  - parallel: [call: {id: a, from: gw, dial: "1"}]
  - parallel:
      - call: {id: c1, from: gw, dial: "4000"}
      - hangup: {call: c1}
      - parallel: [{hangup: {call: a}}, {hangup: {call: a}}]
  - call: {id: c2, from: relay, dial: "4000"}
  - call: {id: c3, from: gw, dial: "4000", raw: {}}
  - fault: {actor: gw, do: other-address, address: 127.0.0.9}
  - send: {from: gw, to: "4711"}
  - connect: {from: gw, server: CAS1, at: default-frontend}
  - answer: {id: c3, by: gw, status: 302}
`), nil)
	for _, want := range []string{
		`bad.yaml:4:56: actor "gw": between is a setting of a middlebox`, `bad.yaml:5:56: actor "relay": media is a setting of an ip-gateway`,
		`bad.yaml:6:56: actor "box": between "relai" names no actor`, `did you mean "relay"?`,
		`bad.yaml:8:21: unknown fault "rtp-los"`, `did you mean "rtp-loss"?`, `only one of nth, percent`, `fault rtp-jitter: for is missing`,
		`bad.yaml:11:40: fault no-diversion: it cannot be counted`, `fault rtp-loss: relay is a mail-host`, `status 200 refuses nothing`,
		`no listener is named "call-rooter"`, `reply "no" does not begin with a code`, `rewrite: header or sdp is missing`, `split: header is not its setting`,
		`fault rtp-loss: percent is 101`, `at is for servers, and gw is an ip-gateway`, `parallel: wants two steps or more`,
		`call "c1" is opened beside this step`, `stands in no other parallel`, `relay is a mail-host, and this is done by an ip-gateway`,
		`raw: wants headers, or a message`, `fault other-address holds from the start`, `gw is an ip-gateway, and this is done by a mail-host`,
		`no mailbox has the extension "4711"`, `call id "c3" stands twice`, `answer: status 302`,
	} {
		require.ErrorContains(t, err, want)
	}
}

// A raw message keeps what it names, and its From the tag of the call.
func TestRaw(t *testing.T) {
	message := []byte("INVITE sip:4000@h SIP/2.0\r\nFrom: <sip:1@h>;tag=x\r\nDiversion: <tel:1>\r\nContent-Length: 2\r\n\r\nab")
	headers := &raw{Headers: map[string]string{"from": "<sip:2@h>", "diversion": "", "X-New": "y"}}
	require.Equal(t, "INVITE sip:4000@h SIP/2.0\r\nfrom: <sip:2@h>;tag=x\r\nContent-Length: 2\r\nX-New: y\r\n\r\nab", string(headers.apply(message)))
	whole := &raw{Message: "INVITE x SIP/2.0\nFrom: {From}\nContent-Length: 2\n\n{body}"}
	require.Equal(t, "INVITE x SIP/2.0\r\nFrom: <sip:1@h>;tag=x\r\nContent-Length: 2\r\n\r\nab", string(whole.apply(message)))
	require.Equal(t, "x\r\n\r\n", string((&raw{Message: "x"}).apply(message)))
	require.Equal(t, message, (*raw)(nil).apply(message))
}

// The organisation sees what a raw call says, whole or in one header.
func TestRawCall(t *testing.T) {
	t.Parallel()
	list, err := Load("raw.yaml", []byte(`version: 1
name: raw
actors: {gw: {role: ip-gateway, address: 127.0.0.30}}
steps:
  - call: {id: c1, from: gw, dial: "4000", diverted: "4021", raw: {headers: {From: "<sip:Ada@h>"}}, outcome: refused}
  - expect: {event: um.refused, call: c1, where: {check: calling-party}}
  - call:
      id: c2
      from: gw
      dial: "4000"
      outcome: refused
      within: 2s
      raw: {message: "INVITE sip:4000@h SIP/2.0\nVia: {Via}\nFrom: {From}\nTo: {To}\nCall-ID: {Call-ID}\nCSeq: many INVITE\nContent-Length: 0"}
  - expect: {event: sip.malformed, at: call-router, where: {why: {matches: CSeq}}}
`), nil)
	require.NoError(t, err)
	out := runTest(t, list[0], nil)
	require.True(t, out.Passed, "%+v", out.Verdicts)
}

// Two messages are compared line by line, whatever a line looks like.
func TestDifference(t *testing.T) {
	const m = "INVITE sip:a SIP/2.0\r\nVia: x\r\nTo: b\r\nContent-Length: 11\r\n\r\nhello world"
	require.Empty(t, difference([]byte(m), []byte(strings.Replace(m, "Via: x", "Via: y", 1))))
	require.Equal(t, `"hello world" was taken away`, difference([]byte(m), []byte(strings.Replace(m, "hello world", "", 1))))
	require.Equal(t, `"To: b" became "To: c"`, difference([]byte(m), []byte(strings.Replace(m, "To: b", "To: c", 1))))
	require.Equal(t, `"X: y" was added`, difference([]byte(m), []byte(strings.Replace(m, "To: b", "To: b\r\nX: y", 1))))
	require.Equal(t, `"INVITE sip:a SIP/2.0" became "INVITE sip:b SIP/2.0"`, difference([]byte(m), []byte(strings.Replace(m, "sip:a", "sip:b", 1))))
}

// A fault that never struck has proven nothing; one that is lifted in time, or
// a caller that gave up, harms nobody.
func TestFaultsOfRuns(t *testing.T) {
	t.Parallel()
	head := "version: 1\nname: x\nactors: {gw: {role: ip-gateway, address: 127.0.0.30}, pbx: {role: ip-gateway, address: 127.0.0.31}}\n"
	for name, tt := range map[string]struct {
		text string
		want string // got of the first failure, "" if there is none
		side string
	}{
		"never struck": {`faults: [{actor: gw, do: silence, of: REFER}]
steps:
  - connect: {from: gw, server: CAS1, at: call-router}
  - connect: {from: pbx, server: CAS1, at: call-router, outcome: closed}
`, "there was nothing that it could befall", "bench"},
		"down twice, up twice": {`steps:
  - connect: {from: gw, server: MBX1, at: um-service}
  - fault: {actor: MBX1, do: server-down}
  - fault: {actor: MBX1, do: server-down}
  - fault: {actor: MBX1, do: server-down, lift: true}
  - connect: {from: gw, server: MBX1, at: um-service, outcome: closed}
  - fault: {actor: MBX1, do: server-down, lift: true}
  - connect: {from: gw, server: MBX1, at: um-service}
  - connect: {from: pbx, server: CAS1, at: call-router, outcome: closed}
`, "", ""},
		"no recycling while down": {`steps:
  - fault: {actor: MBX1, do: server-down}
  - recycle: {server: MBX1}
  - connect: {from: gw, server: CAS1, at: call-router}
  - connect: {from: pbx, server: CAS1, at: call-router, outcome: closed}
`, "sim: MBX1 is down", "unknown"},
		"nothing to lift": {`steps:
  - connect: {from: gw, server: CAS1, at: call-router}
  - connect: {from: pbx, server: CAS1, at: call-router, outcome: closed}
  - fault: {actor: gw, do: no-media, lift: true}
`, "gw has no such fault now", "unknown"},
		"one count over all listeners": {`faults: [{actor: MBX1, do: status, status: 503, of: INVITE, nth: 2}]
steps:
  - call: {id: a, from: gw, dial: "4000", outcome: refused}
  - call: {id: b, from: gw, dial: "4000"}
  - connect: {from: pbx, server: CAS1, at: call-router, outcome: closed}
`, "", ""},
		"a call that gave up": {`steps:
  - parallel:
      - - call: {id: a, from: gw, to: pbx, dial: "1", within: 3s, outcome: refused}
        - call: {id: b, from: gw, to: pbx, dial: "1"}
      - - connect: {from: gw, server: CAS1, at: call-router}
        - expect: {event: sip.received, at: gw, where: {status: 487}}
        - answer: {id: c, by: pbx}
`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list, err := Load("x.yaml", []byte(head+tt.text), nil)
			require.NoError(t, err)
			out := runTest(t, list[0], nil)
			got, side := "", ""
			for _, v := range out.Verdicts {
				if v.Result == Failed && got == "" {
					got, side = v.Got, v.Side
				}
			}
			require.Equal(t, tt.want, got, "%+v", out.Verdicts)
			require.Equal(t, tt.side, side)
		})
	}
}
