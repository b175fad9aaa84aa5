package sim_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/rtp"
)

// baresip hears the pilot's greeting alike by mu-law and by A-law: prompts are one
// recording, said in the law that is agreed on.
func TestBothLaws(t *testing.T) {
	baresip := needPeer(t, "baresip")
	energy := map[string]float64{}
	for i, law := range []string{"PCMU", "PCMA"} {
		l := startLab(t, "2013", 183+i, "", secured)
		bundle, ca := papers(t, l)
		ctl := startBaresip(t, baresip, l, rtp.Quiet(rtp.PCMU, 30*time.Second), "tls", ";audio_codecs="+law+"/8000/1", fmt.Sprintf("sip_certificate %s\nsip_cafile %s", bundle, ca))
		ctl.send("dial", fmt.Sprintf("sip:4000@%s;transport=tls", l.at("call-router-tls")))
		require.Equal(t, law+"/8000", l.await("um.answered", 15*time.Second).Text("codec"))
		l.await("um.pilot_greeting", 15*time.Second)
		var heard string
		require.Eventually(t, func() bool {
			dumps, err := filepath.Glob(filepath.Join(ctl.dir, "rec", "*dec.wav"))
			if err != nil || len(dumps) != 1 {
				return false
			}
			info, err := os.Stat(dumps[0])
			heard = dumps[0]
			return err == nil && info.Size() > 44+2*8000*2 // two seconds
		}, 15*time.Second, 50*time.Millisecond)
		ctl.send("hangup", "")
		l.await("um.ended", 10*time.Second)
		wav, err := os.ReadFile(heard)
		require.NoError(t, err)
		energy[law] = rms(wav[44 : 44+2*8000*2])
	}
	require.Greater(t, energy["PCMU"], 300.0, "nothing was heard")
	require.InEpsilon(t, energy["PCMU"], energy["PCMA"], 0.1, "the laws are heard differently: %v", energy)
}

// rms is the loudness of linear samples of 16 bits.
func rms(b []byte) float64 {
	sum := 0.0
	for i := 0; i+1 < len(b); i += 2 {
		v := float64(int16(uint16(b[i]) | uint16(b[i+1])<<8))
		sum += v * v
	}
	return math.Sqrt(sum / float64(len(b)/2))
}
