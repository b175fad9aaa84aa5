package sip_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The 50 messages of RFC 4475 (SIP torture test messages), sent over TCP to an
// endpoint that serves what Exchange UM allows. want is the outcome that the
// RFC asks for; where ours is another, why says the reason.
var torture = []struct {
	file string
	want string // statuses in order; "" for no answer; "closed" if the stream must end
	why  string
}{
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
	{"clerr", "", "on a stream a receiver waits for the rest that Content-Length promises"},
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

func TestTorture(t *testing.T) {
	files, err := filepath.Glob("testdata/rfc4475/*.dat")
	require.NoError(t, err)
	require.Len(t, files, 50)
	require.Len(t, torture, 50, "each message has its row")
	server := newTestServer(t)
	for _, tt := range torture {
		t.Run(tt.file, func(t *testing.T) {
			data, err := os.ReadFile("testdata/rfc4475/" + tt.file + ".dat")
			require.NoError(t, err)
			want := strings.Fields(tt.want)
			peer := server.connect(t)
			peer.write(data)
			for _, w := range want {
				if w == "closed" {
					peer.wantClosed()
					return
				}
				require.Equal(t, w, peer.response().status)
			}
			if tt.file == "clerr" {
				return // the connection is inside a message
			}
			peer.wantAlive()
		})
	}
}
