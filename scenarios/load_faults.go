package scenarios

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/exsim/exsim/sim/faults"
	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/yamlfile"
)

// fault checks one fault.
func (l *loader) fault(f *PlantedFault) {
	role := l.s.roleOf(f.Actor)
	if l.s.Actors[f.Actor].Pos != (yamlfile.Pos{}) && !knownRole(role) {
		role = roleGateway // its role is a mistake that is told
	}
	if role == "" {
		l.f.Report(f.Places.At("actor", f.Pos), yamlfile.Suggest(f.Actor, l.s.Parties()), "fault: no actor and no server is named %q", f.Actor)
		return
	}
	k := kindOfFault(f.Do)
	if k == nil {
		l.f.Report(f.Places.At("do", f.Pos), yamlfile.Suggest(f.Do, faultNames(role)), "unknown fault %q", f.Do)
		return
	}
	if !slices.Contains(k.by, role) {
		l.f.Report(f.Places.At("do", f.Pos), "it is a fault of "+strings.Join(k.by, ", "), "fault %s: %s is %s", f.Do, f.Actor, a(role))
		return
	}
	l.faultSettings(f, k)
	l.faultPlace(f, role)
	l.faultOf(f, role)
	l.faultParty(f, role)
	l.certificate(f.Places.At("certificate", f.Pos), f.Certificate)
	if ids := causeIDs(); f.Cause != "" && !slices.Contains(ids, f.Cause) {
		l.f.Report(f.Places.At("cause", f.Pos), yamlfile.Suggest(f.Cause, ids), "fault %s: unknown cause %q", f.Do, f.Cause)
	}
}

// faultSettings reports settings that are missing, or belong to others.
func (l *loader) faultSettings(f *PlantedFault, k *faultKind) {
	has := f.settings()
	takes := slices.Clone(k.may)
	for _, need := range k.needs {
		either := strings.Split(need, "|")
		takes = append(takes, either...)
		said := slices.DeleteFunc(slices.Clone(either), func(s string) bool { _, ok := f.Places[s]; return !ok })
		switch {
		case len(said) == 0:
			l.f.Report(f.Pos, "", "fault %s: %s is missing", f.Do, strings.Join(either, " or "))
		case len(said) > 1:
			l.f.Report(f.Places.At(said[1], f.Pos), "", "fault %s: only one of %s", f.Do, strings.Join(said, ", "))
		}
	}
	for _, s := range slices.Sorted(maps.Keys(has)) {
		if has[s] && !slices.Contains(takes, s) {
			l.f.Report(f.Places.At(s, f.Pos), "", "fault %s: %s is not its setting", f.Do, s)
		}
	}
	switch said := f.dose(); {
	case len(said) > 1:
		l.f.Report(f.Pos, "", "fault %s: only one of %s", f.Do, strings.Join(said, ", "))
	case len(said) == 1 && k.counts == "":
		l.f.Report(f.Places.At(said[0], f.Pos), "", "fault %s: it cannot be counted", f.Do)
	}
	for key, n := range map[string]int{"nth": f.Nth, "from": f.From, "every": f.Every, "octet": f.Octet, "count": f.Count} {
		if at, said := f.Places[key]; said && n < 1 {
			l.f.Report(at, "counts begin at 1", "fault %s: %s is %d", f.Do, key, n)
		}
	}
	if at, said := f.Places["percent"]; said && (f.Percent <= 0 || f.Percent > 100) {
		l.f.Report(at, "more than 0, at most 100", "fault %s: percent is %g", f.Do, f.Percent)
	}
	if f.SDP != "" && len(f.SDP) != 1 {
		l.f.Report(f.Places.At("sdp", f.Pos), "its letter, such as c or m", "fault %s: sdp %q is no line of a description", f.Do, f.SDP)
	}
	if f.Reply != "" && !replyText(f.Reply) {
		l.f.Report(f.Places.At("reply", f.Pos), "such as 452 4.3.1 Insufficient system resources", "reply %q does not begin with a code", f.Reply)
	}
	if f.Status != 0 && (f.Status < 300 || f.Status > 699) {
		l.f.Report(f.Places.At("status", f.Pos), "300 to 699", "status %d refuses nothing", f.Status)
	}
}

func replyText(text string) bool {
	return len(text) > 4 && strings.Trim(text[:3], "0123456789") == "" && text[3] == ' ' && text[0] >= '2' && text[0] <= '5'
}

// faultPlace checks at which listener of a server a fault is.
func (l *loader) faultPlace(f *PlantedFault, role string) {
	if role == roleServer {
		l.faultRows(f)
	}
	if f.At == "" {
		return
	}
	at := f.Places.At("at", f.Pos)
	if role != roleServer {
		l.f.Report(at, "", "fault %s: at is for servers, and %s is %s", f.Do, f.Actor, a(role))
		return
	}
	l.listener(at, f.At)
}

// faultRows reports a fault of a server that has no listener for it.
func (l *loader) faultRows(f *PlantedFault) {
	p, err := profile.Load(l.s.Organisation.Version)
	if err != nil || !socketFault(f.Do) {
		return
	}
	s := l.s.Organisation.ServerNamed(f.Actor)
	var has []string
	for _, row := range rowsOf(p, f) {
		for _, r := range p.Ports {
			if r.ID == row && s.Has(org.Role(r.Role)) {
				has = append(has, row)
			}
		}
	}
	if len(has) == 0 {
		l.f.Report(f.Places.At("at", f.Pos), "exsim ports lists what a role listens on", "fault %s: %s has no such listener that it could befall", f.Do, f.Actor)
	}
}

// faultParty reports a fault that its party, being what it is, could never show.
func (l *loader) faultParty(f *PlantedFault, role string) {
	mail := role == roleBox && l.s.Actors[l.s.Actors[f.Actor].Between].Role == roleMail
	wrong := ""
	switch {
	case strings.HasPrefix(f.Do, "rtp-") && mail:
		wrong = "no call passes through it"
	case f.Keyword != "" && !mail:
		wrong = "keyword: is of SMTP, and no mail host stands behind it"
	case (f.Header != "" || f.SDP != "") && mail:
		wrong = "headers and SDP are of SIP, and a mail host stands behind it"
	case slices.Contains([]string{string(faults.Certificate), string(faults.TLSAbort), string(faults.NoTLS)}, f.Do) && role == roleGateway && l.s.Actors[f.Actor].Transport != TLS:
		wrong = "it speaks no TLS: transport: tls"
	}
	if wrong != "" {
		l.f.Report(f.Places.At("do", f.Pos), "", "fault %s: %s could never show it: %s", f.Do, f.Actor, wrong)
	}
}

// Words that a fault can be about.
var (
	sipMethods = []string{"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "PRACK", "UPDATE", "REFER", "NOTIFY", "INFO", "MESSAGE", "SUBSCRIBE", "PUBLISH"}
	smtpStages = []string{"connect", "message", "EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "QUIT", "VRFY", "HELP"}
)

// faultOf checks what a fault is about: a word that nothing is named by would
// let it never strike.
func (l *loader) faultOf(f *PlantedFault, role string) {
	if f.Of == "" {
		return
	}
	at := f.Places.At("of", f.Pos)
	word, method, both := strings.Cut(f.Of, " ")
	number := len(word) == 3 && strings.Trim(word, "0123456789") == ""
	words := sipMethods
	if smtpFault(f.Do) && role == roleServer || role == roleBox && l.s.Actors[l.s.Actors[f.Actor].Between].Role == roleMail {
		words = smtpStages
	}
	answers := role == roleBox || !smtpFault(f.Do) && f.Do != string(faults.Status) // codes can be meant
	switch {
	case number && answers && (!both || slices.Contains(sipMethods, method)):
	case !both && slices.Contains(words, word):
	default:
		l.f.Report(at, cmp.Or(yamlfile.Suggest(f.Of, words), strings.Join(words, ", ")), "fault %s: nothing is called %q here", f.Do, f.Of)
	}
}
