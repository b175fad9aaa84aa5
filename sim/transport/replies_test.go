package transport

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/smtp"
)

// Every version spells what its queues say, and what its connectors refuse with.
func TestSpelled(t *testing.T) {
	for _, version := range profile.Versions() {
		p, err := profile.Load(version)
		require.NoError(t, err)
		for _, name := range []smtp.Reply{
			replyUnableToConnect, replyNoCredentials, replyCertificate, replyNoChannel, replyExchangeAuth, replyExpired, replyBody, replyUTF8, smtp.ReplyAuthUnavailable,
			replyNotAuthenticated, replyStartTLSRequired, replyNotThisSender, replyUnableToRelay, replyUserUnknown, replyRateExceeded, replyHeaderTooBig, replyHopCount, replySenderDenied,
			replyReservedTop, replyReservedSecond, replySingleLabel, replyNotActive, replyInsufficient, replyProxyFailed, replyCertificateRequired,
		} {
			require.Regexp(t, regexp.MustCompile(`^[245][0-9]{2} .`), p.Replies[string(name)], "%s: %s", version, name)
		}
	}
}
