package sip

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// SessionTimer is what both ends have agreed on how long a session lasts
// without a refresh (RFC 4028). The zero SessionTimer means that it lasts.
type SessionTimer struct {
	Interval time.Duration
	Ours     bool // we refresh, else the peer
}

// SessionTimer settles the timer that a request asks for. own is the interval
// that we want, and the least that we take. headers belong into the 2xx; no is
// the refusal, nil if there is none (RFC 4028 §9).
func (tx *ServerTx) SessionTimer(own time.Duration) (t SessionTimer, headers []string, no *Response) {
	asked, refresher, ok := tx.sessionExpires("Session-Expires")
	least, _, okay := tx.sessionExpires("Min-SE")
	if !ok || !okay {
		return t, nil, &Response{Status: 400, Reason: "Bad Session-Expires"}
	}
	supported := HasTag(tx.Header("Supported"), "timer") || HasTag(tx.Header("Require"), "timer")
	minSE := fmt.Sprintf("Min-SE: %d", int(own.Seconds()))
	switch {
	case asked != 0 && asked < own && supported:
		return t, nil, &Response{Status: 422, Reason: "Session Interval Too Small", Headers: []string{minSE}}
	case asked == 0 && !supported:
		return t, nil, nil
	case !supported:
		refresher = "uas"
	case refresher == "":
		refresher = "uac"
	}
	t = SessionTimer{max(own, least), refresher == "uas"}
	if asked != 0 {
		t.Interval = min(t.Interval, asked)
	}
	return t, []string{fmt.Sprintf("Session-Expires: %d;refresher=%s", int(t.Interval.Seconds()), refresher), minSE}, nil
}

// SessionTimer is what the answer to our request says of the timer; ours is
// what it leaves to us.
func (r *Reply) SessionTimer() SessionTimer {
	interval, refresher, _ := parseSessionExpires(r.header("Session-Expires"))
	return SessionTimer{interval, refresher != "uas"}
}

// MinSE is the least interval that a 422 asks for, 0 if it says none.
func (r *Reply) MinSE() time.Duration {
	least, _, _ := parseSessionExpires(r.header("Min-SE"))
	return least
}

// Allows reports whether the answer's Allow lists a method.
func (r *Reply) Allows(method string) bool { return HasTag([]string{r.header("Allow")}, method) }

func (r *Reply) header(name string) string {
	if r.Message != nil {
		if h := r.Message.GetHeader(name); h != nil {
			return h.Value()
		}
	}
	return ""
}

func (tx *ServerTx) sessionExpires(name string) (d time.Duration, refresher string, ok bool) {
	return parseSessionExpires(tx.h.value(name))
}

// parseSessionExpires reads a value of Session-Expires or Min-SE; 0 if it is
// empty.
func parseSessionExpires(value string) (d time.Duration, refresher string, ok bool) {
	if value == "" {
		return 0, "", true
	}
	seconds, params, _ := strings.Cut(value, ";")
	n, ok := number([]byte(strings.TrimSpace(seconds)), 1<<31-1)
	if !ok || n == 0 {
		return 0, "", false
	}
	r, _ := findParam(";"+params, "refresher")
	refresher = strings.ToLower((";" + params)[r.off : r.off+r.n])
	if refresher != "uac" && refresher != "uas" {
		refresher = ""
	}
	return time.Duration(n) * time.Second, refresher, true
}

// Refresh sends an UPDATE or a re-INVITE with these headers and returns its
// final answer.
type Refresh func(ctx context.Context, headers []string) (Reply, error)

// KeepSession starts the timer, or starts it anew behind a refresh of the
// peer's. Refreshes that are ours are sent at half of the interval. Where
// nobody refreshes the call is ended by a BYE, shortly before the interval is
// over (RFC 4028 §10).
func (d *Dialog) KeepSession(t SessionTimer, send Refresh) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case t.Interval == 0 || d.ended:
		d.ep.wheel.stop(&d.session)
	case t.Ours:
		d.ep.wheel.start(&d.session, t.Interval/2, func() { d.refreshSession(t, send) })
	default:
		d.ep.wheel.start(&d.session, t.Interval-min(32*time.Second, t.Interval/3), d.expired)
	}
}

// refreshSession is our turn. A peer that does not answer, or knows no such
// call any more, has lost it; one that refuses lets the session run out.
func (d *Dialog) refreshSession(t SessionTimer, send Refresh) {
	left := t.Interval / 2
	ctx, cancel := context.WithTimeout(d.ep.ctx, left)
	defer cancel()
	for {
		r, err := send(ctx, []string{"Supported: timer", fmt.Sprintf("Session-Expires: %d;refresher=uac", int(t.Interval.Seconds()))})
		switch {
		case err != nil && d.ep.ctx.Err() == nil:
			d.expired()
			return
		case err != nil:
			return // the endpoint is closed
		case r.Status == 408, r.Status == 481:
			d.bye(EndExpired)
			return
		case r.Status/100 == 2:
			if agreed := r.SessionTimer(); agreed.Interval != 0 {
				t = agreed
			}
			d.KeepSession(t, send)
			return
		case r.Status == 422 && r.MinSE() > t.Interval:
			t.Interval = r.MinSE()
		case r.Status == 491: // RFC 3261 §14.1: again, within 2 s, by chance
			select {
			case <-time.After(time.Duration(d.ep.conf.Rand()%2000) * time.Millisecond):
			case <-ctx.Done():
			}
		default:
			d.KeepSession(SessionTimer{Interval: left}, nil)
			return
		}
	}
}

func (d *Dialog) expired() {
	d.mu.Lock()
	peer := d.conn.name
	d.mu.Unlock()
	if d.bye(EndExpired) {
		d.ep.conf.Trace.Record(d.call, trace.Session{}, timedOut(peer, "refresh of the session"), nil)
	}
}
