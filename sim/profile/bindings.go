package profile

import "slices"

// binding ties a fact's key to its place in the Profile.
type binding struct {
	key  string
	into any
}

// bindings is the whole vocabulary of facts: a key that is not here is
// unknown, one that no file gives is missing.
func (p *Profile) bindings() []binding {
	return slices.Concat(p.sipFacts(), p.umFacts(), p.refusalFacts(), p.messageFacts(), p.mailFacts())
}

// sipFacts are how SIP, SDP and TLS are spoken.
func (p *Profile) sipFacts() []binding {
	h := &p.SIP.Headers
	return []binding{
		{"sip.headers.from", &h.From}, {"sip.headers.to", &h.To}, {"sip.headers.cseq", &h.CSeq}, {"sip.headers.call-id", &h.CallID},
		{"sip.headers.via", &h.Via}, {"sip.headers.contact", &h.Contact}, {"sip.headers.content-length", &h.ContentLength},
		{"sip.headers.content-type", &h.ContentType}, {"sip.headers.record-route", &h.RecordRoute}, {"sip.headers.server", &p.SIP.ServerHeader},
		{"sip.server.redirect", &p.SIP.ServerRedirect}, {"sip.server.answer", &p.SIP.ServerAnswer}, {"sip.via-joined", &p.SIP.ViaJoined},
		{"sip.epid", &p.SIP.EPID}, {"sip.allow", &p.SIP.Allow}, {"sip.allow-lines", &p.SIP.AllowLines}, {"sip.supported", &p.SIP.Supported},
		{"sip.supported-lines", &p.SIP.SupportedLines}, {"sip.answer-lines", &p.SIP.AnswerLines}, {"sip.contact-params", &p.SIP.ContactParams},
		{"sip.content-id", &p.SIP.ContentID}, {"sip.session-expires", &p.SIP.SessionExpires}, {"sip.t1", &p.SIP.T1}, {"sip.retry-after", &p.SIP.RetryAfter},
		{"redirect.status", &p.Redirect.Status}, {"redirect.router-host", &p.Redirect.RouterHost}, {"redirect.service-host", &p.Redirect.ServiceHost},
		{"redirect.transport", &p.Redirect.Transport}, {"redirect.transport-tls", &p.Redirect.Secure}, {"redirect.maddr-when-asked", &p.Redirect.Maddr},
		{"sdp.session-name", &p.SDP.SessionName}, {"sdp.bandwidth", &p.SDP.Bandwidth}, {"sdp.label", &p.SDP.Label}, {"sdp.events", &p.SDP.Events},
		{"sdp.ptime", &p.SDP.Ptime}, {"sdp.codecs", &p.SDP.Codecs}, {"sdp.offers-g723", &p.SDP.OffersG723}, {"sdp.crypto-suites", &p.SDP.Suites}, {"sdp.more-crypto-suites", &p.SDP.MoreSuites},
		{"sdp.refused-attributes", &p.SDP.Refused}, {"sip.headers.event", &h.Event}, {"sip.headers.subscription-state", &h.SubscriptionState},
		{"sip.headers.user-agent", &h.UserAgent}, {"tls.check.chain", &p.TLS.Chain}, {"tls.check.dates", &p.TLS.Dates},
		{"tls.check.revocation", &p.TLS.Revocation}, {"tls.check.usage", &p.TLS.Usage}, {"tls.check.name", &p.TLS.Name},
		{"tls.check.algorithm", &p.TLS.Algorithm}, {"tls.check.key-size", &p.TLS.KeySize}, {"tls.min-version", &p.TLS.MinVersion},
		{"tls.min-rsa", &p.TLS.MinRSA},
	}
}

// umFacts are behaviour and limits of Unified Messaging.
func (p *Profile) umFacts() []binding {
	return []binding{
		{"um.alphanumeric-caller", &p.UM.AlphanumericCaller}, {"um.diversion-order", &p.UM.DiversionOrder}, {"um.strict-headers", &p.UM.StrictHeaders},
		{"um.check-called-host", &p.UM.CheckCalledHost}, {"um.tone-hz", &p.UM.ToneHz}, {"um.tone-length", &p.UM.ToneLength},
		{"um.rtp-silence", &p.UM.RTPSilence}, {"um.end-key", &p.UM.EndKey}, {"um.input-timeout", &p.UM.InputTimeout},
		{"um.digit-timeout", &p.UM.DigitTimeout}, {"um.input-failures", &p.UM.InputFailures}, {"um.logon-failures", &p.UM.LogonFailures},
		{"um.logon-failures-before-pin-reset", &p.UM.LogonsBeforeReset}, {"um.max-logon-attempts", &p.UM.MaxLogons},
		{"um.min-pin-length", &p.UM.MinPINLength}, {"um.bad-history-info", &p.UM.BadHistory}, {"um.key.accept", &p.UM.Keys.Accept},
		{"um.key.again", &p.UM.Keys.Again}, {"um.key.urgent", &p.UM.Keys.Urgent}, {"um.key.private", &p.UM.Keys.Private},
		{"transfer.refer-to", &p.Transfer.ReferTo}, {"transfer.refer-to-sip", &p.Transfer.ReferToSIP}, {"transfer.referred-by", &p.Transfer.ReferredBy},
		{"transfer.timeout", &p.Transfer.Timeout}, {"fax.refers", &p.Fax.Refers}, {"fax.refer-to", &p.Fax.ReferTo}, {"fax.refusal", &p.Fax.Note},
		{"um.in-band-digits", &p.UM.InBandDigits}, {"um.ring-timeout", &p.UM.RingTimeout}, {"um.sdp-in-180-silences", &p.UM.SDPIn180Silences},
		{"mwi.supported", &p.MWI.Supported}, {"mwi.refresh", &p.MWI.Refresh}, {"mwi.give-up", &p.MWI.GiveUp}, {"mwi.retry", &p.MWI.Retry},
		{"mwi.timeout", &p.MWI.Timeout}, {"um.max-call-duration", &p.UM.MaxCall}, {"um.max-recording-duration", &p.UM.MaxRecording},
		{"um.recording-idle-timeout", &p.UM.RecordingIdle}, {"um.max-calls", &p.UM.MaxCalls}, {"um.probe-interval", &p.UM.ProbeInterval}, {"um.submit-retry", &p.UM.SubmitRetry},
		{"um.startup-modes", &p.UM.StartupModes}, {"um.recycle-interval", &p.UM.RecycleInterval}, {"um.drain-limit", &p.UM.DrainLimit},
		{"um.gateway-probe-interval", &p.UM.GatewayProbeInterval}, {"um.reread-interval", &p.UM.RereadInterval}, {"um.max-gateways", &p.UM.MaxGateways},
	}
}

// refusalFacts are the answers to calls that are not taken.
func (p *Profile) refusalFacts() []binding {
	r := &p.Refusals
	return []binding{
		{"refusal.gateway-disabled", &r.GatewayDisabled}, {"refusal.unknown-gateway", &r.UnknownGateway}, {"refusal.no-hunt-group", &r.NoHuntGroup},
		{"refusal.security-mismatch", &r.SecurityMismatch}, {"refusal.no-srtp", &r.NoSRTP}, {"refusal.not-um-enabled", &r.NotUMEnabled},
		{"refusal.wrong-host", &r.WrongHost}, {"refusal.refused-attribute", &r.RefusedAttribute}, {"refusal.bad-header", &r.BadHeader},
		{"refusal.bad-party", &r.BadParty}, {"refusal.no-codec", &r.NoCodec}, {"refusal.max-calls", &r.MaxCalls}, {"refusal.no-server", &r.NoServer},
		{"refusal.no-ports", &r.NoPorts}, {"refusal.draining", &r.Draining}, {"refusal.maintenance", &r.Maintenance},
	}
}

// messageFacts are the form of what is mailed.
func (p *Profile) messageFacts() []binding {
	return []binding{
		{"message.voice-class", &p.Message.VoiceClass}, {"message.missed-class", &p.Message.MissedClass},
		{"message.voice-subject", &p.Message.VoiceSubject}, {"message.missed-subject", &p.Message.MissedSubject},
		{"message.pin-subject", &p.Message.PINSubject}, {"message.attachment", &p.Message.Attachment}, {"message.caller-header", &p.Message.CallerHeader},
		{"message.duration-header", &p.Message.DurationHeader}, {"message.sender-header", &p.Message.SenderHeader},
		{"message.order-header", &p.Message.OrderHeader}, {"message.call-header", &p.Message.CallHeader},
	}
}

// mailFacts are what receive connectors share.
func (p *Profile) mailFacts() []binding {
	return []binding{
		{"smtp.banner", &p.SMTP.Banner}, {"smtp.hello", &p.SMTP.Hello}, {"smtp.received", &p.SMTP.Received}, {"smtp.bare-auth", &p.SMTP.BareAuth},
		{"smtp.windows", &p.SMTP.Windows}, {"smtp.min-tls", &p.SMTP.MinTLSVersion}, {"smtp.max-tls", &p.SMTP.MaxTLSVersion}, {"smtp.tarpit-chunks", &p.SMTP.TarpitChunks},
		{"smtp.send-retry", &p.SMTP.SendRetry}, {"smtp.send-expiry", &p.SMTP.SendExpiry}, {"smtp.last-error", &p.SMTP.LastError}, {"smtp.discredited-addresses", &p.SMTP.Discredit},
		{"smtp.front-ends", &p.SMTP.FrontEnds}, {"smtp.late-recipients", &p.SMTP.LateRecipients}, {"smtp.filters", &p.SMTP.Filters}, {"smtp.max-receive-size", &p.SMTP.MaxReceiveSize},
		{"smtp.stamps", &p.SMTP.Stamps}, {"roles.separate", &p.Separate},
	}
}
