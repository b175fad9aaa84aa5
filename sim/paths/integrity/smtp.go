package integrity

import (
	"fmt"
	"slices"
	"strings"
)

const inspection = "SMTP inspection of a firewall (fixup, ESMTP inspect) or a mail proxy"

// what the loss of an EHLO keyword does.
var keywordMeanings = map[string]struct {
	rating Rating
	means  string
}{
	"STARTTLS":       {Breaking, "mail goes in clear, or not at all where TLS is required"},
	"X-ANONYMOUSTLS": {Breaking, "servers of the organisation cannot encrypt among themselves"},
	"AUTH":           {Breaking, "clients cannot log on"},
	"X-EXPS":         {Breaking, "servers of the organisation cannot log on"},
	"CHUNKING":       {Risky, "BDAT cannot be used; binary bodies are refused"},
	"BINARYMIME":     {Risky, "binary bodies are refused"},
	"8BITMIME":       {Risky, "bodies are converted to seven bits, which breaks signatures"},
	"PIPELINING":     {Harmless, "slower"},
	"SIZE":           {Harmless, "too large a message is refused later"},
	"DSN":            {Risky, "delivery status notifications cannot be asked for"},
	"XEXCH50":        {Harmless, ""},
}

// smtpWay compares the lines of one direction, in clear.
func smtpWay(way string, sent, got []byte) []Change {
	a, b := lines(sent), lines(got)
	if slices.Equal(a, b) {
		return nil
	}
	if way == "back" {
		return repliesBack(a, b)
	}
	var list []Change
	for i := range max(len(a), len(b)) {
		x, y := at(a, i), at(b, i)
		if x == y {
			continue
		}
		c := Change{What: "command " + verb(x+y), Way: way, Sent: x, Got: y, Rating: Breaking, By: inspection}
		switch {
		case i >= len(b):
			c.Means = "the command does not arrive"
		case i >= len(a):
			c.Means = "nobody sent this command"
		default:
			c.Means = "the command arrives as another one"
		}
		list = append(list, c)
		if i >= len(b) {
			break // what follows is lost with it
		}
	}
	return list
}

// repliesBack compares banner and EHLO keyword by keyword, and the rest line by
// line.
func repliesBack(a, b []string) []Change {
	var list []Change
	ra, rb := replies(a), replies(b)
	for i, want := range ra {
		if i >= len(rb) {
			list = append(list, Change{What: fmt.Sprintf("reply %d", i+1), Way: "back", Sent: want[0], Rating: Breaking, Means: "the reply does not arrive", By: inspection})
			break
		}
		if slices.Equal(want, rb[i]) {
			continue
		}
		if i == 0 {
			list = append(list, Change{What: "banner", Way: "back", Sent: want[0], Got: rb[i][0], Rating: Risky, Means: "the device inspects, and mostly also crosses out what it does not know", By: inspection})
			continue
		}
		if len(want) > 1 {
			list = append(list, keywords(want, rb[i])...)
			continue
		}
		list = append(list, Change{What: fmt.Sprintf("reply %d", i+1), Way: "back", Sent: want[0], Got: rb[i][0], Rating: Breaking, Means: "the client is told something else than the server says", By: inspection})
	}
	for i := len(ra); i < len(rb); i++ {
		list = append(list, Change{What: fmt.Sprintf("reply %d", i+1), Way: "back", Got: rb[i][0], Rating: Breaking, Means: "something in between answers in the server's place", By: inspection})
	}
	return list
}

// keywords compares two answers to EHLO.
func keywords(want, got []string) []Change {
	var list []Change
	theirs := map[string]string{}
	for _, l := range got {
		theirs[keyword(l)] = l
	}
	ours := map[string]bool{}
	for _, l := range want[1:] {
		k := keyword(l)
		ours[k] = true
		m, known := keywordMeanings[k]
		if !known {
			m.rating, m.means = Risky, "an extension is not offered any more"
		}
		switch other, ok := theirs[k]; {
		case !ok:
			list = append(list, Change{What: "EHLO " + k, Way: "back", Sent: l, Rating: m.rating, Means: m.means, By: inspection})
		case text(other) != text(l):
			list = append(list, Change{What: "EHLO " + k, Way: "back", Sent: l, Got: other, Rating: worse(m.rating, Risky), Means: "the extension is not offered as the server does", By: inspection})
		}
	}
	for _, l := range got[1:] {
		if k := keyword(l); !ours[k] {
			rating, means := Risky, "the server did not offer this"
			if strings.Trim(k, "X") == "" {
				rating, means = Breaking, "an extension was crossed out"
			}
			list = append(list, Change{What: "EHLO " + k, Way: "back", Got: l, Rating: rating, Means: means, By: inspection})
		}
	}
	if text(want[0]) != text(got[0]) {
		list = append(list, Change{What: "EHLO greeting", Way: "back", Sent: want[0], Got: got[0], Rating: Harmless, By: inspection})
	}
	return list
}

// text is a line of a reply without its code.
func text(line string) string {
	if len(line) > 4 {
		return line[4:]
	}
	return ""
}

func keyword(line string) string {
	k, _, _ := strings.Cut(text(line), " ")
	return strings.ToUpper(k)
}

// replies groups lines into replies.
func replies(list []string) [][]string {
	var out [][]string
	var now []string
	for _, l := range list {
		now = append(now, l)
		if len(l) < 4 || l[3] != '-' {
			out, now = append(out, now), nil
		}
	}
	if now != nil {
		out = append(out, now)
	}
	return out
}

func lines(b []byte) []string {
	text := strings.TrimSuffix(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

func verb(line string) string {
	v, _, _ := strings.Cut(line, " ")
	if len(v) > 12 {
		v = v[:12]
	}
	return v
}
