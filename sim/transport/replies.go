package transport

import (
	"errors"
	"fmt"

	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/smtp"
)

// What a receive connector refuses with, besides the engine's own replies.
const (
	replyNotAuthenticated    smtp.Reply = "not-authenticated"
	replyStartTLSRequired    smtp.Reply = "starttls-required"
	replyNotThisSender       smtp.Reply = "not-permitted-sender"
	replySenderDenied        smtp.Reply = "sender-denied"
	replyUnableToRelay       smtp.Reply = "unable-to-relay"
	replyUserUnknown         smtp.Reply = "user-unknown"
	replyReservedTop         smtp.Reply = "reserved-top-level"
	replyReservedSecond      smtp.Reply = "reserved-second-level"
	replySingleLabel         smtp.Reply = "single-label"
	replyRateExceeded        smtp.Reply = "rate-exceeded"
	replyHeaderTooBig        smtp.Reply = "header-too-big"
	replyHopCount            smtp.Reply = "hop-count"
	replyNotActive           smtp.Reply = "service-not-active"
	replyProxyFailed         smtp.Reply = "proxy-failed"
	replyCertificateRequired smtp.Reply = "certificate-required"
	replyInsufficient                   = smtp.ReplyInsufficient
)

// What a queue says of a message that stays, besides what the next hop answers.
const (
	replyUnableToConnect smtp.Reply = "unable-to-connect"
	replyNoCredentials   smtp.Reply = "no-credentials"
	replyCertificate     smtp.Reply = "certificate-validation"
	replyNoChannel       smtp.Reply = "no-tls-channel"
	replyExchangeAuth    smtp.Reply = "exchange-auth-required"
	replyExpired         smtp.Reply = "queue-expired"
	replyBody            smtp.Reply = "body-not-supported"
	replyUTF8            smtp.Reply = "smtputf8-not-supported"
)

// Replies are a profile's spellings of replies.
func Replies(p *profile.Profile) map[smtp.Reply]string {
	replies := map[smtp.Reply]string{}
	for name, text := range p.Replies {
		replies[smtp.Reply(name)] = text
	}
	return replies
}

// spelled is a failure in the words of a version, with why.
func spelled(p *profile.Profile, name smtp.Reply, why error) error {
	text := p.Replies[string(name)]
	if why == nil {
		return errors.New(text)
	}
	return fmt.Errorf("%s: %w", text, why)
}
