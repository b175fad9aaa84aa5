package sim_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/gateway"
	"github.com/exsim/exsim/sim/org"
)

// listening is a socket at a gateway's address, whose port its object gets.
func listening(t *testing.T, addr string) (net.Listener, uint16) {
	t.Helper()
	ln, err := net.Listen("tcp", addr+":0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	return ln, netip.MustParseAddrPort(ln.Addr().String()).Port()
}

// The lamp follows the mailbox: a message comes, is heard, is deleted. The first
// gateway is dead, so the next one is told.
func TestLampFollowsMailbox(t *testing.T) {
	t.Parallel()
	const n = 161
	ln, port := listening(t, fmt.Sprintf("127.0.%d.30", n))
	l := startLab(t, "2016", n, quick, short(t), func(o *org.Organisation) {
		o.Mailboxes[0].PIN = "135791"
		dead := o.Gateways[0]
		dead.Name, dead.Address, dead.Port = "dead", netip.MustParseAddr(fmt.Sprintf("127.0.%d.31", n)), 9
		o.Gateways[0].Port = port
		o.Gateways = append(o.Gateways, dead)
		o.HuntGroups = append([]org.HuntGroup{{Name: "dead", Pilot: "1", Gateway: "dead", DialPlan: "Lab"}}, o.HuntGroups...)
	})
	g := startGateway(t, l, func(c *gateway.Config) {
		c.Listen = func(netip.AddrPort) (net.Listener, error) { return ln, nil }
	})
	leaveMessage(t, l, g)
	require.Equal(t, "dead", l.await("um.mwi_failed", 10*time.Second).Text("gateway"))
	lamp := l.awaitNth(1, "gateway.lamp")
	require.Equal(t, "yes 1/0 notice", lamp.Text("waiting")+" "+lamp.Text("counts")+" "+lamp.Session.Kind)
	require.Equal(t, fmt.Sprintf("sip:4021@127.0.%d.30:%d", n, port), lamp.Text("account"))
	require.Equal(t, lamp.Session, l.awaitNth(1, "um.mwi").Session)

	c := session(t, l, g, "4021", "4000")
	require.NoError(t, c.Secret(t.Context(), "135791#"))
	l.awaitNth(1, "um.menu")
	require.NoError(t, c.Digits(t.Context(), "1"))
	l.awaitNth(1, "um.playing")
	require.NoError(t, c.Digits(t.Context(), "#"))
	require.Equal(t, "no", l.awaitNth(1, "gateway.lamp", "counts=0/1").Text("waiting"))
	l.awaitNth(2, "um.menu")
	require.NoError(t, c.Digits(t.Context(), "1"))
	l.awaitNth(2, "um.playing")
	require.NoError(t, c.Digits(t.Context(), "7"))
	l.awaitNth(1, "gateway.lamp", "counts=0/0")
	require.NoError(t, c.Hangup(t.Context()))
}

// The indication of the public trace of Exchange 2010 SP1, header by header;
// Exchange 2007 sends none.
func TestTraceOfIndication(t *testing.T) {
	t.Parallel()
	const n = 162
	ln, port := listening(t, fmt.Sprintf("127.0.%d.30", n))
	l := startLab(t, "2010-sp1", n, "", func(o *org.Organisation) {
		o.Gateways[0].Port = port
		o.DialPlans[0].URIType = org.SipName
		o.Mailboxes[0].SIPAddress = "tu64@contoso.com"
	})
	require.NoError(t, mailTo(l, "ada@contoso.lab", "Content-Class: voice-ca\r\n", "x"))
	lines, body := nextRequest(t, ln, "NOTIFY")
	account := fmt.Sprintf("sip:tu64@contoso.com:%d", port)
	require.Equal(t, "NOTIFY "+account+" SIP/2.0", lines[0])
	require.Contains(t, lines, "TO: <"+account+">")
	require.Contains(t, lines, "CONTACT: <"+account+">")
	require.Contains(t, lines, "EVENT: message-summary")
	require.Contains(t, lines, "SUBSCRIPTION-STATE: terminated")
	require.Contains(t, lines, "USER-AGENT: RTCC/3.5.0.0 MSExchangeUM/14.01.0218.012")
	require.Contains(t, lines, "CONTENT-TYPE: application/simple-message-summary")
	require.Regexp(t, `(?m)^FROM: <`+account+`>;epid=[0-9A-F]{10};tag=[0-9a-f]+$`, strings.Join(lines, "\n"))
	require.Equal(t, "Messages-Waiting: yes\r\nMessage-Account: "+account+"\r\nVoice-Message: 1/0\r\n", body)
}

// mailTo hands a message to the connector that submits to mailboxes.
func mailTo(l *lab, to, headers, body string) error {
	from := l.Organisation().Servers[0].Address // one of the organisation's servers
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}).DialContext(l.t.Context(), "tcp", l.at("default").String())
	if err != nil {
		return err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for _, line := range []string{"", "EHLO x.contoso.lab", "MAIL FROM:<x@contoso.lab>", "RCPT TO:<" + to + ">", "DATA", headers + "Subject: x\r\n\r\n" + body + "\r\n."} {
		if line != "" {
			if _, err := io.WriteString(conn, line+"\r\n"); err != nil {
				return err
			}
		}
		for {
			answer, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if len(answer) > 3 && answer[3] == ' ' {
				if answer[0] > '3' {
					return fmt.Errorf("%s: %s", line, answer)
				}
				break
			}
		}
	}
	return nil
}

// nextRequest takes connections until a request of this method comes, and
// answers everything with 200.
func nextRequest(t *testing.T, ln net.Listener, method string) (lines []string, body string) {
	t.Helper()
	type message struct {
		lines []string
		body  string
	}
	found := make(chan message, 1)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					m := message{}
					length := 0
					for {
						line, err := r.ReadString('\n')
						if err != nil {
							return
						}
						if line = strings.TrimSpace(line); line == "" {
							break
						}
						m.lines = append(m.lines, line)
						if v, ok := strings.CutPrefix(strings.ToLower(line), "content-length:"); ok {
							length, _ = strconv.Atoi(strings.TrimSpace(v))
						}
					}
					b := make([]byte, length)
					if _, err := io.ReadFull(r, b); err != nil || len(m.lines) == 0 {
						return
					}
					m.body = string(b)
					answer := []string{"SIP/2.0 200 OK"}
					for _, line := range m.lines[1:] {
						name, _, _ := strings.Cut(strings.ToLower(line), ":")
						switch name {
						case "via", "from", "call-id", "cseq":
							answer = append(answer, line)
						case "to":
							answer = append(answer, line+";tag=peer")
						}
					}
					_, _ = io.WriteString(conn, strings.Join(append(answer, "Content-Length: 0"), "\r\n")+"\r\n\r\n")
					if strings.HasPrefix(m.lines[0], method) {
						select {
						case found <- m:
						default:
						}
					}
				}
			}()
		}
	}()
	select {
	case m := <-found:
		return m.lines, m.body
	case <-time.After(20 * time.Second):
		t.Fatalf("no %s came", method)
		return nil, ""
	}
}

// onlyThis is a listen function that knows one socket.
func onlyThis(ln net.Listener) func(netip.AddrPort) (net.Listener, error) {
	return func(netip.AddrPort) (net.Listener, error) { return ln, nil }
}
