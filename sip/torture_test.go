package sip_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type tortureRow struct {
	file string
	want string // statuses in order; "" for no answer; "closed" if the stream must end, "inside" if it waits for the rest
	why  string
}

// The 50 messages of RFC 4475 (SIP torture test messages), sent over TCP to an
// endpoint that serves what Exchange UM allows. want is the outcome that the
// RFC asks for; where ours is another, why says the reason.
var torture = []tortureRow{
	// 3.1.1 Valid messages
	{"wsinv", "481", "its To tag names a dialog that does not exist here"},
	{"intmeth", "501", ""},
	{"esc01", "200", ""},
	{"escnull", "405", "UM is no registrar: REGISTER gets 405 whatever it holds"},
	{"esc02", "501", ""},
	{"lwsdisp", "200", ""},
	{"longreq", "200", ""},
	{"dblreq", "405 200 closed", "on a stream the octets behind the first message are the next message, and behind that Content-Length leaves a rest that is none"},
	{"semiuri", "200", ""},
	{"transports", "200", ""},
	{"mpart01", "415", "UM takes no MESSAGE with a multipart body: 415 with Accept"},
	{"unreason", "", ""},
	{"noreason", "", ""},

	// 3.1.2 Invalid messages
	{"badinv01", "400", ""},
	{"clerr", "inside", "on a stream a receiver waits for the rest that Content-Length promises"},
	{"ncl", "400 closed", ""},
	{"scalar02", "400", ""},
	{"scalarlg", "", ""},
	{"quotbal", "400", ""},
	{"ltgtruri", "400", ""},
	{"lwsruri", "400", ""},
	{"lwsstart", "400", ""},
	{"trws", "400", ""},
	{"escruri", "400", ""},
	{"baddate", "200", "the RFC allows to ignore a Date that is not needed"},
	{"regbadct", "405", "REGISTER is not served"},
	{"badaspec", "400", ""},
	{"baddn", "200", "the RFC allows to be liberal: the display name is not used"},
	{"badvers", "505", ""},
	{"mismatch01", "400", ""},
	{"mismatch02", "400", ""},
	{"bigcode", "", ""},

	// 3.2 Transaction layer
	{"badbranch", "200", ""},

	// 3.3 Application layer
	{"insuf", "", "without Call-ID, From and To no response can be built"},
	{"unkscm", "416", ""},
	{"novelsc", "416", ""},
	{"unksm2", "405", "REGISTER is not served"},
	{"bext01", "420", ""},
	{"invut", "415", ""},
	{"regaut01", "405", "REGISTER is not served"},
	{"multi01", "400", ""},
	{"mcl01", "400 closed", ""},
	{"bcast", "", ""},
	{"zeromf", "200", ""},
	{"cparam01", "405", "REGISTER is not served"},
	{"cparam02", "405", "REGISTER is not served"},
	{"regescrt", "405", "REGISTER is not served"},
	{"sdp01", "406", ""},

	// 3.4 Backward compatibility
	{"inv2543", "400 closed", "a stream needs Content-Length (RFC 3261 §18.3)"},

	// Of the archive, not of the text
	{"test", "", "no version and no Via: there is nowhere to answer to"},
}

// The 12 messages of RFC 5118 (SIP torture test messages for IPv6).
var torture6 = []tortureRow{
	{"ipv6-good", "405", "valid, and REGISTER is not served"},
	{"ipv6-bad", "400", ""},
	{"port-ambiguous", "405", "valid, and REGISTER is not served"},
	{"port-unambiguous", "405", "valid, and REGISTER is not served"},
	{"via-received-param-with-delim", "481", "valid, and of no dialog"},
	{"via-received-param-no-delim", "200", ""},
	{"ipv6-in-sdp", "200 inside", "its Content-Length leaves a rest, which is the beginning of a next message"},
	{"mult-ip-in-header", "481", "valid, and of no dialog"},
	{"mult-ip-in-sdp", "200 inside", "its Content-Length leaves a rest, which is the beginning of a next message"},
	{"ipv4-mapped-ipv6", "200 inside", "its Content-Length leaves a rest, which is the beginning of a next message"},
	{"ipv6-bug-abnf-3-colons", "200", "the RFC asks receivers to let it pass"},
	{"ipv6-correct-abnf-2-colons", "200", ""},
}

func TestTorture(t *testing.T) { testTorture(t, "testdata/rfc4475", 50, torture) }

func TestTortureIPv6(t *testing.T) { testTorture(t, "testdata/rfc5118", 12, torture6) }

func testTorture(t *testing.T, dir string, n int, rows []tortureRow) {
	files, err := filepath.Glob(dir + "/*.dat")
	require.NoError(t, err)
	require.Len(t, files, n)
	require.Len(t, rows, n, "each message has its row")
	server := newTestServer(t)
	for _, tt := range rows {
		t.Run(tt.file, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(dir, tt.file+".dat"))
			require.NoError(t, err)
			want := strings.Fields(tt.want)
			peer := server.connect(t)
			peer.write(data)
			for _, w := range want {
				switch w {
				case "closed":
					peer.wantClosed()
					return
				case "inside":
					return
				}
				require.Equal(t, w, peer.response().status)
			}
			peer.wantAlive()
		})
	}
}
