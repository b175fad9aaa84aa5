package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/exsim/exsim/sim/trace"
)

// upLine tells an event as a line, "" if it is none that people watch.
func upLine(e *trace.Event) string {
	if line := callLine(e, wordsOf(e)); line != "" {
		return line
	}
	if line := mailLine(e); line != "" {
		return line
	}
	return serverLine(e, wordsOf(e))
}

// mailLine is about log-ons, refusals and what leaves again.
func mailLine(e *trace.Event) string {
	words := wordsOf(e)
	switch e.Name {
	case "smtp.authenticated":
		return "logged on as " + words("user") + " by " + words("mechanism")
	case "smtp.logon_failed":
		return "a log-on by " + words("mechanism") + " failed: " + words("why")
	case "smtp.refused":
		return words("verb") + " was answered " + words("reply")
	case "smtp.blocked":
		return words("peer") + " was dropped behind its recipients: it is on the block list"
	case "smtp.no_certificate":
		return words("connector") + " offers no TLS: the server has no certificate for " + words("wanted") + "; certificates: of the server adds one"
	case "send.queued":
		return "mail to " + words("recipient") + " waits for " + cmp.Or(words("connector"), "a send connector: none has its domain")
	case "send.taken":
		return "mail to " + words("recipient") + " has left by " + words("connector") + ": " + words("answer")
	case "send.failed":
		state := "waits at "
		if e.Text("final") == "true" {
			state = "is given up, and kept as .bad at "
		}
		return "mail to " + words("recipient") + " " + state + words("path") + ": " + words("why")
	case "transport.state":
		return words("what") + " is set " + words("state")
	}
	return ""
}

// wordsOf joins those of some fields that an event has.
func wordsOf(e *trace.Event) func(keys ...string) string {
	return func(keys ...string) string {
		var list []string
		for _, k := range keys {
			if v := e.Text(k); v != "" {
				list = append(list, v)
			}
		}
		return strings.Join(list, " ")
	}
}

// callLine is about calls, connections and mail.
func callLine(e *trace.Event, words func(keys ...string) string) string {
	switch e.Name {
	case "um.redirected":
		return "redirected to " + words("to", "contact")
	case "um.answered":
		return "answered " + words("kind", "caller", "mailbox", "codec")
	case "um.refused", "admit.refused", "tls.refused", "tls.failed":
		why := strings.Trim(words("check")+": "+words("why", "admitted"), ": ")
		if expected := e.Text("expected"); expected != "" {
			why += "; expected " + expected
		}
		return "REFUSED " + e.Text("peer") + ": " + why + "; fix: " + e.Text("fix")
	case "tls.established":
		return words("version") + " with " + words("peer", "admitted_as")
	case "tls.warned":
		return "warned " + words("peer", "check", "why")
	case "smtp.refused":
		return "REFUSED " + words("peer", "verb", "reply")
	case "um.greeting", "um.tone", "um.recording", "um.pilot_greeting", "um.missed_call", "um.hang_up", "um.ended":
		return strings.TrimSpace(strings.ReplaceAll(e.Name[3:], "_", " ") + " " + words("why", "how"))
	case "um.menu", "um.input_failed", "um.logon", "um.logon_failed", "um.playing", "um.deleted", "um.message_unusable", "um.mailbox_full",
		"um.transferring", "um.transferred", "um.transfer_failed", "um.mwi", "um.mwi_failed", "um.mwi_given_up", "um.fax", "um.fax_refused",
		"um.calling", "um.phone_answered", "um.call_failed", "um.silenced":
		return strings.ReplaceAll(e.Name[3:], "_", " ") + " " + words("menu", "digits", "result", "number", "mailbox", "gateway", "counts", "message", "by", "to", "refer_to", "status", "why")
	case "um.recorded":
		length, _ := e.Get("length")
		d, _ := length.(time.Duration)
		return fmt.Sprintf("recorded %.1f s, ended by %s", d.Seconds(), e.Text("by"))
	case "rtp.ended":
		if e.Text("direction") == "received" && e.Int("packets") == 0 {
			return "received no RTP at all: one-way audio"
		}
		return "RTP " + words("direction") + " " + e.Text("packets") + " packets, " + e.Text("lost") + " lost"
	case "mail.delivered":
		return "mail to " + e.Text("mailbox") + ": " + words("subject", "path")
	}
	return ""
}

// serverLine is about servers, worker processes and gateway objects.
func serverLine(e *trace.Event, words func(keys ...string) string) string {
	switch e.Name {
	case "um.gateway_up", "um.gateway_down":
		at := e.Text("gateway") + " at " + e.Text("address") + ":" + e.Text("port") + "/" + e.Text("transport")
		if e.Name == "um.gateway_up" {
			return at + " answers OPTIONS"
		}
		return at + " does not answer OPTIONS (event 1400): " + e.Text("why")
	case "um.maintenance":
		return "Unified Messaging of " + e.Text("server") + " is set " + e.Text("state")
	case "um.gateway_resolved", "um.gateway_unresolved", "um.gateway_status":
		return e.Name[3:] + " " + words("gateway", "fqdn", "addresses", "status", "state", "why")
	case "um.worker_started", "um.worker_draining", "um.worker_stopped", "um.worker_failed":
		line := strings.TrimSpace(strings.ReplaceAll(e.Name[3:], "_", " ") + " " + words("row", "ports", "why"))
		if n := e.Int("calls"); n > 0 {
			line += fmt.Sprintf(", calls left: %d", n)
		}
		return line
	case "um.submit_failed", "um.server_down", "um.server_up", "sip.malformed", "sip.timeout", "smtp.tls_failed", "bench.fault":
		return e.Name + " " + words("server", "peer", "why", "what")
	}
	return ""
}
