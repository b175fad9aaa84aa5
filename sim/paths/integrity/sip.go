package integrity

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// sipMessage is a message as it was on the wire.
type sipMessage struct {
	first string
	lines []string // header lines, unfolded
	body  []string
	cseq  string // number and method
	fits  bool   // Content-Length ends where the body does
}

// sipMessages cuts a stream into messages; what does not end is the last one.
func sipMessages(b []byte) []sipMessage {
	var list []sipMessage
	for len(b) > 0 {
		head, rest, whole := bytes.Cut(b, []byte("\r\n\r\n"))
		lines := strings.Split(strings.TrimLeft(string(head), "\r\n"), "\r\n")
		m := sipMessage{first: lines[0]}
		for _, l := range lines[1:] {
			if n := len(m.lines); n > 0 && (strings.HasPrefix(l, " ") || strings.HasPrefix(l, "\t")) {
				m.lines[n-1] += " " + strings.TrimSpace(l)
				continue
			}
			m.lines = append(m.lines, l)
		}
		said, _ := strconv.Atoi(m.value("Content-Length"))
		n := min(max(said, 0), len(rest))
		m.cseq = m.value("CSeq")
		m.fits = n == said && bytes.HasSuffix(rest[:n], []byte("\r\n")) && (n == len(rest) || bytes.Contains(rest[n:], []byte("SIP/2.0")) && rest[n] >= 'A' && rest[n] <= 'Z')
		m.body = strings.Split(strings.TrimSuffix(string(rest[:n]), "\r\n"), "\r\n")
		if n == 0 {
			m.body = nil
		}
		if m.first != "" {
			list = append(list, m)
		}
		if b = rest[n:]; !whole {
			break
		}
	}
	return list
}

func (m *sipMessage) value(name string) string {
	for _, l := range m.lines {
		if key, value, ok := strings.Cut(l, ":"); ok && sameName(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// compact are the short forms of RFC 3261 §7.3.3.
var compact = map[string]string{"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length", "c": "content-type", "k": "supported", "e": "content-encoding", "s": "subject"}

func canonical(name string) string {
	name = strings.ToLower(strings.TrimSpace(name))
	if long, ok := compact[name]; ok {
		return long
	}
	return name
}

func sameName(a, b string) bool { return canonical(a) == canonical(b) }

// what a change of a header or of a line of a session description does.
var sipMeanings = map[string]struct {
	rating Rating
	means  string
}{
	"via":            {Risky, "responses are sent where the changed Via says"},
	"contact":        {Breaking, "later requests, BYE among them, go to the changed address"},
	"record-route":   {Risky, "requests in the dialog take another way"},
	"route":          {Risky, "requests in the dialog take another way"},
	"content-length": {Breaking, "the receiver takes too much or too little of the stream for the body"},
	"call-id":        {Breaking, "neither end knows the call of the other"},
	"from":           {Breaking, "neither end knows the dialog of the other"},
	"to":             {Breaking, "neither end knows the dialog of the other"},
	"cseq":           {Breaking, "the transaction cannot be matched"},
	"diversion":      {Breaking, "Unified Messaging does not know whose call it is"},
	"history-info":   {Breaking, "Unified Messaging does not know whose call it is"},
	"max-forwards":   {Harmless, "a hop was counted"},
	"user-agent":     {Harmless, ""},
	"server":         {Harmless, ""},
	"supported":      {Risky, "an extension is not offered any more"},
	"allow":          {Risky, "a method is not offered any more"},
	"require":        {Breaking, "an extension is demanded that nobody asked for, or no longer"},
	"c":              {Breaking, "media goes to the changed address: one-way or no audio, unless the one that changed it relays it"},
	"m":              {Breaking, "media goes to the changed port, or a codec is gone"},
	"o":              {Risky, "the origin is not the sender; a later offer may not be known as the same session"},
	"a":              {Risky, "an attribute of the media is not what was offered"},
}

// Headers are those of the probes' messages, and those that are often added.
func Headers() []string {
	list := []string{"Content-Type", "Accept", "Date", "P-Asserted-Identity"}
	for name := range sipMeanings {
		if len(name) > 1 || name == "to" {
			list = append(list, title(name))
		}
	}
	slices.Sort(list)
	return list
}

const alg = "SIP ALG of a firewall or router, or a back-to-back user agent"

func meaning(name string) (Rating, string) {
	if m, ok := sipMeanings[name]; ok {
		return m.rating, m.means
	}
	return Risky, "what was said does not arrive"
}

// sipWay compares the messages of one direction.
func sipWay(way string, sent, got []byte) []Change {
	var list []Change
	left := sipMessages(got)
	for _, m := range sipMessages(sent) {
		i := slices.IndexFunc(left, func(o sipMessage) bool {
			return o.cseq == m.cseq && o.isResponse() == m.isResponse() && (!m.isResponse() || o.status() == m.status())
		})
		if i < 0 {
			list = append(list, Change{What: m.name(), Way: way, Sent: m.first, Rating: Breaking, Means: "a message was swallowed while the connection stayed", By: alg})
			continue
		}
		list = append(list, compareSIP(way, &m, &left[i])...)
		left = slices.Delete(left, i, i+1)
	}
	for _, m := range left {
		list = append(list, Change{What: m.name(), Way: way, Got: m.first, Rating: Risky, Means: "nobody sent this message", By: alg})
	}
	return list
}

func (m *sipMessage) isResponse() bool { return strings.HasPrefix(m.first, "SIP/2.0") }

func (m *sipMessage) status() string {
	parts := strings.SplitN(m.first, " ", 3)
	if len(parts) < 2 {
		return ""
	}
	return parts[1]
}

func (m *sipMessage) name() string {
	if m.isResponse() {
		return m.status() + " to " + m.cseq
	}
	method, _, _ := strings.Cut(m.first, " ")
	return method
}

func compareSIP(way string, sent, got *sipMessage) []Change {
	var list []Change
	add := func(what, a, b string, rating Rating, means string) {
		list = append(list, Change{What: what + " of " + sent.name(), Way: way, Sent: a, Got: b, Rating: rating, Means: means, By: alg})
	}
	if sent.first != got.first {
		rating := Risky
		if !sent.isResponse() {
			rating = Breaking
		}
		add("first line", sent.first, got.first, rating, "another one is called than was dialled, or another answer given")
	}
	compareHeaders(sent, got, add)
	compareBody(sent, got, add)
	return list
}

// compareHeaders finds headers that were changed, dropped, added or put in
// another order.
func compareHeaders(sent, got *sipMessage, add func(what, a, b string, rating Rating, means string)) {
	a, b := byName(sent.lines), byName(got.lines)
	for _, name := range a.order {
		if name == "content-length" && got.fits && !slices.Equal(sent.body, got.body) {
			continue // as it must be, for another body
		}
		rating, means := meaning(name)
		theirs := b.values[name]
		for i, v := range a.values[name] {
			switch {
			case i >= len(theirs):
				add(title(name), v, "", worse(rating, Risky), "the header does not arrive: "+means)
			case v != theirs[i]:
				add(title(name), v, theirs[i], rating, means)
			}
		}
		for _, v := range theirs[min(len(a.values[name]), len(theirs)):] {
			add(title(name), "", v, rating, means)
		}
	}
	for _, name := range b.order {
		if _, ok := a.values[name]; !ok {
			rating, means := meaning(name)
			if rating == Breaking {
				rating = Risky
			}
			for _, v := range b.values[name] {
				add(title(name), "", v, rating, means)
			}
		}
	}
	if kept := shared(b.order, a.values); !slices.Equal(shared(a.order, b.values), kept) {
		add("order of headers", strings.Join(shared(a.order, b.values), ", "), strings.Join(kept, ", "), Harmless, "")
	}
}

type headers struct {
	order  []string
	values map[string][]string
}

func byName(lines []string) headers {
	h := headers{values: map[string][]string{}}
	for _, l := range lines {
		key, value, _ := strings.Cut(l, ":")
		key = canonical(key)
		if _, ok := h.values[key]; !ok {
			h.order = append(h.order, key)
		}
		h.values[key] = append(h.values[key], strings.TrimSpace(value))
	}
	return h
}

func shared(order []string, in map[string][]string) []string {
	var list []string
	for _, n := range order {
		if _, ok := in[n]; ok {
			list = append(list, n)
		}
	}
	return list
}

func title(name string) string {
	parts := strings.Split(name, "-")
	for i, p := range parts {
		if p != "" {
			parts[i] = strings.ToUpper(p[:1]) + p[1:]
		}
	}
	return strings.Join(parts, "-")
}

func worse(a, b Rating) Rating {
	if a == Breaking || b == Breaking {
		return Breaking
	}
	if a == Risky || b == Risky {
		return Risky
	}
	return Harmless
}

// compareBody compares session descriptions line by line.
func compareBody(sent, got *sipMessage, add func(what, a, b string, rating Rating, means string)) {
	for i := range max(len(sent.body), len(got.body)) {
		a, b := at(sent.body, i), at(got.body, i)
		if a == b {
			continue
		}
		key, _, _ := strings.Cut(a+b, "=")
		rating, means := meaning(key)
		add(fmt.Sprintf("SDP %s=", key), a, b, rating, means)
	}
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}
