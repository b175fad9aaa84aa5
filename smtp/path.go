package smtp

import "strings"

// maxPath bounds an address: RFC 5321 §4.5.3.1.3 asks for 256 octets at least.
// maxLongPath is the bound where long addresses are taken.
const (
	maxPath     = 571
	maxLongPath = 1860
)

func (c *conn) maxPath() int {
	if c.s.conf.LongAddresses {
		return maxLongPath
	}
	return maxPath
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] > 0x7f {
			return false
		}
	}
	return true
}

// parsePath reads FROM:<path> or TO:<path> with its parameters
// (RFC 5321 §4.1.2). A blank behind the colon is tolerated, a source route
// dropped. On a fault it returns the reply.
func parsePath(args, keyword string, mayBeEmpty bool, longest int) (path string, params []string, fault Reply) {
	if len(args) < len(keyword) || !strings.EqualFold(args[:len(keyword)], keyword) {
		return "", nil, ReplyInvalidArguments
	}
	rest := strings.TrimLeft(args[len(keyword):], " ")
	if !strings.HasPrefix(rest, "<") {
		return "", nil, ReplyInvalidAddress
	}
	end := pathEnd(rest)
	if end < 0 || end > longest {
		return "", nil, ReplyInvalidAddress
	}
	path, rest = rest[1:end], rest[end+1:]
	if rest != "" && rest[0] != ' ' {
		return "", nil, ReplyInvalidArguments
	}
	if strings.HasPrefix(path, "@") {
		_, after, found := strings.Cut(path, ":")
		if !found {
			return "", nil, ReplyInvalidAddress
		}
		path = after
	}
	if path == "" && !mayBeEmpty || path != "" && !mailboxOK(path) {
		return "", nil, ReplyInvalidAddress
	}
	return path, strings.Fields(rest), ""
}

// pathEnd finds the closing bracket outside quotes.
func pathEnd(s string) int {
	quoted := false
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '>' && !quoted:
			return i
		}
	}
	return -1
}

// mailboxOK checks local-part@domain; the local part may be quoted. The name
// postmaster alone is a mailbox too (RFC 5321 §4.5.1).
func mailboxOK(s string) bool {
	if strings.EqualFold(s, "postmaster") {
		return true
	}
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at == len(s)-1 {
		return false
	}
	local, domain := s[:at], s[at+1:]
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return false
	}
	if strings.HasPrefix(local, `"`) {
		return len(local) > 2 && strings.HasSuffix(local, `"`) && domainOK(domain)
	}
	for _, r := range local {
		if r <= ' ' || r == 0x7f || strings.ContainsRune(`()<>[]:;@\,"`, r) {
			return false
		}
	}
	return !strings.HasPrefix(local, ".") && !strings.HasSuffix(local, ".") && !strings.Contains(local, "..") && domainOK(domain)
}
