package sip

import "bytes"

func trimmed(line []byte, from int) span {
	end := len(line)
	for end > from && isSpace(line[end-1]) {
		end--
	}
	for from < end && isSpace(line[from]) {
		from++
	}
	return span{int32(from), int32(end - from)}
}

// trimEnd cuts white space off the end; bytes.TrimRight costs ten times as much.
func trimEnd(b []byte) []byte {
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func skipSpace[T string | []byte](v T, i int) int {
	for i < len(v) && isSpace(v[i]) {
		i++
	}
	return i
}

// number reads decimal digits up to a limit.
func number(b []byte, limit uint64) (uint64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
		if n > limit {
			return 0, false
		}
	}
	return n, true
}

// isToken reports whether b is a token (RFC 3261 §25.1).
func isToken(b []byte) bool {
	for _, c := range b {
		if !letterOrDigit(c) && bytes.IndexByte([]byte("-.!%*_+`'~"), c) < 0 {
			return false
		}
	}
	return len(b) > 0
}

func letterOrDigit(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func equalFold[T string | []byte](b T, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range len(b) {
		c, d := b[i], s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if 'A' <= d && d <= 'Z' {
			d += 'a' - 'A'
		}
		if c != d {
			return false
		}
	}
	return true
}
