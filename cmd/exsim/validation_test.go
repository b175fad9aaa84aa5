package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/stretchr/testify/require"
)

// validated is Kamailio, with rtpengine in the path of its media, as the session
// border controller that is to be accepted.
type validated struct {
	t        *testing.T
	dir      string
	kamailio string
	config   sbc
	robot    *robot
	running  string // the conditions that it is set up for
	stop     func()
}

// sbc fills in testdata/sbc.cfg.tmpl.
type sbc struct {
	Modules, Dir, Address, Listen, Source string
	Router, Other, Transport              string
	Telephones, TelephonesAddress         string
	Engine, Profile                       string
	TLS                                   bool
	Broken                                broken
	certificate                           string
}

// broken is what the device does wrong, as Kamailio's configuration has it.
type broken struct {
	Request, Flags, Reply, Redirected, Refused string

	Elsewhere   bool   // it calls from whatever address
	Certificate string // that it shows in each case
	ClearMedia  bool   // no SRTP, whatever the case wants
}

// addresses of the lab.
const (
	sbcAddress  = "127.0.122.41"
	phonesAt    = "127.0.122.42"
	sbcOffset   = "22000"
	sbcListen   = sbcAddress + ":5060"
	firstRouter = "127.0.122.10"
	otherRouter = "127.0.122.12"
)

func newValidated(t *testing.T) *validated {
	t.Helper()
	v := &validated{t: t, dir: t.TempDir(), kamailio: needPeer(t, "kamailio"), stop: func() {}}
	rtpengine := needPeer(t, "rtpengine")
	v.robot = newRobot(t, netip.MustParseAddr(phonesAt), netip.MustParseAddrPort(sbcListen))
	v.config = sbc{
		Modules: kamailioModules(t), Dir: v.dir, Address: sbcAddress, Listen: sbcListen, Source: sbcAddress,
		Telephones: v.robot.system.Addr().String(), TelephonesAddress: phonesAt, Engine: sbcAddress + ":22222",
	}
	runUntilEnd(t, exec.Command(rtpengine, "--table=-1", "--interface="+sbcAddress, "--listen-ng="+v.config.Engine, "--config-file=none", "--foreground", "--log-stderr",
		"--port-min=30000", "--port-max=30999", "--pidfile="+filepath.Join(v.dir, "engine.pid")))
	for _, args := range [][]string{{"init"}, {"issue", "gw1.contoso.lab"}, {"bad", "gw1.contoso.lab"}} {
		code, out, errs := runExsim(t, append([]string{"pki", "--dir", v.pki()}, args...)...)
		require.Zero(t, code, out+errs)
	}
	return v
}

func (v *validated) pki() string { return filepath.Join(v.dir, "pki") }

// certificates of the authority, by what a case says of them.
var certificates = map[string]string{
	"that ran out": "-expired", "that does not name": "-wrong-name", "from an authority that Exchange does not know": "-unknown-ca", "revoked": "-revoked",
}

// setUp is what a person does at the device before a case, if it is not so yet.
func (v *validated) setUp(conditions string) {
	c := v.config
	c.Profile, c.Transport, c.Router, c.Other = "RTP/AVP", "tcp", firstRouter+":27060", otherRouter+":27060"
	if c.TLS = strings.Contains(conditions, "SIP over TLS"); c.TLS {
		c.Transport, c.Router, c.Other = "tls", firstRouter+":27061", ""
	}
	if strings.Contains(conditions, "SRTP") {
		c.Profile = "RTP/SAVP"
	}
	for words, kind := range certificates {
		if strings.Contains(conditions, words) {
			c.certificate = kind
		}
	}
	if c.Broken.Certificate != "" {
		c.certificate = c.Broken.Certificate
	}
	if c.Broken.ClearMedia {
		c.Profile = "RTP/AVP"
	}
	if c.Broken.Elsewhere {
		c.Source = ""
	}
	var conf bytes.Buffer
	require.NoError(v.t, template.Must(template.ParseFiles("testdata/sbc.cfg.tmpl")).Execute(&conf, c))
	now := conf.String() + c.certificate
	if now == v.running {
		return
	}
	v.stop()
	v.running = now
	v.write("kamailio.cfg", conf.String())
	v.write("routers.list", "1 sip:"+c.Router+";transport="+c.Transport+"\n")
	if c.Other != "" {
		v.write("routers.list", "1 sip:"+c.Router+";transport=tcp\n1 sip:"+c.Other+";transport=tcp\n")
	}
	own := filepath.Join(v.pki(), "certs", "gw1.contoso.lab"+c.certificate)
	domain := "[%s:default]\nmethod = TLSv1.2+\ncertificate = %s.pem\nprivate_key = %s.key\nca_list = %s\nverify_certificate = yes\nrequire_certificate = yes\n"
	ca := filepath.Join(v.pki(), "ca.pem")
	v.write("tls.cfg", fmt.Sprintf(domain, "server", own, own, ca)+fmt.Sprintf(domain, "client", own, own, ca))
	v.stop = startSBC(v.t, v.kamailio, filepath.Join(v.dir, "kamailio.cfg"), c.Listen)
}

func (v *validated) write(name, text string) {
	require.NoError(v.t, os.WriteFile(filepath.Join(v.dir, name), []byte(text), 0o600))
}

// validate runs the suite, or some of it, against the device.
func (v *validated) validate(args ...string) (code int, out string) {
	v.t.Helper()
	defer func() { v.stop(); v.stop, v.running = func() {}, "" }()
	return v.robot.stand(append([]string{
		"run", "um-validation", "--device", "external", "--ask", "--patience", "20s", "--port-offset", sbcOffset, "--authority", v.pki(),
		"--address", "CAS1=" + firstRouter, "--address", "EX1=" + firstRouter, "--address", "MBX1=127.0.122.11", "--address", "MBX2=" + otherRouter, "--address", "CAS2=" + otherRouter,
		"--address", "gw=" + sbcAddress, "--address", "partner=127.0.122.44",
	}, args...), v.setUp)
}

// Kamailio is accepted in the cases that take seconds: calls, keys, transfers,
// lamps, Play on Phone, hold, failover and a bad certificate. SRTP (9.2) is in the
// soak, and in TestKamailioSBC: on a full machine Kamailio 5.6 now and then does not
// read the answer that comes right behind a TLS handshake.
func TestValidation(t *testing.T) {
	v := newValidated(t)
	code, out := v.validate("--only", "1.1,2.1,3,4,5,7.2,7.5,8.2,8.5,9.4")
	require.Zero(t, code, out)
}

// Kamailio passes the whole list.
func TestSoakValidation(t *testing.T) {
	if os.Getenv("EXSIM_SOAK") == "" {
		t.Skip("a soak: make soak")
	}
	v := newValidated(t)
	sheet := filepath.Join(v.dir, "sheet.html")
	code, out := v.validate("--sheet", sheet)
	require.Zero(t, code, out)
	require.Contains(t, out, "36 passed, 0 failed, 0 not applicable, 0 not run")
	require.FileExists(t, sheet)
}

// What is wrong with a device stands on the sheet.
func TestSoakBrokenDevices(t *testing.T) {
	if os.Getenv("EXSIM_SOAK") == "" {
		t.Skip("a soak: make soak")
	}
	v := newValidated(t)
	for _, tt := range []struct {
		name, only string
		wrong      broken
		want       string
	}{
		{"drops Diversion", "1.1", broken{Redirected: `remove_hf("Diversion");`}, "the INVITE behind a redirect has no Diversion"},
		{"hands redirects on", "1.1", broken{Redirected: "exit;"}, "the connection comes from " + phonesAt},
		{"calls from another address", "1.1", broken{Elsewhere: true}, "the connection comes from 127.0.0.1"},
		{"passes no audio", "1.1", broken{Flags: "media-address=127.0.122.99"}, "no RTP arrives at the worker"},
		{"passes no telephone events", "2.1", broken{Flags: "codec-strip-telephone-event"}, "no key of the caller arrived as a telephone event"},
		{"refuses REFER", "3.1", broken{Request: `if (is_method("REFER")) { sl_send_reply("405", "Method Not Allowed"); exit; }`}, "the device does not take a transfer"},
		{"refuses indications", "4.1", broken{Request: `if (is_method("NOTIFY") && !has_totag()) { sl_send_reply("405", "Method Not Allowed"); exit; }`}, "the device refuses to be told of waiting messages"},
		{"asks for a log-on", "5.1", broken{Request: `if (is_method("INVITE") && !has_totag() && $si != "` + phonesAt + `") { sl_send_reply("401", "Unauthorized"); exit; }`}, "the device asks Unified Messaging"},
		{"knows one call router", "8.2", broken{Refused: "exit;"}, "refused on purpose, as this scenario says, and the device neither tried again nor elsewhere"},
		{"remembers the worker", "8.4", broken{
			Request: `if (is_method("INVITE") && !has_totag() && $sht(learnt=>worker) != $null) { record_route(); route(MEDIA); t_on_reply("ANSWER"); $ru = "sip:" + $rU + $sht(learnt=>worker); t_relay(); exit; }`,
			Reply:   `if ($rs == "200" && $si != "` + phonesAt + `" && is_method("INVITE")) $sht(learnt=>worker) = "@" + $si + ":" + $sp + ";transport=tcp";`,
		}, "it remembers the port of an earlier redirect"},
		{"shows an expired certificate", "9.1", broken{Certificate: "-expired"}, "the device's certificate fails the check dates"},
		{"sends RTP in clear", "9.2", broken{ClearMedia: true}, "the device offers no SRTP that can be used"},
		{"refuses OPTIONS", "10.1", broken{Request: `if (is_method("OPTIONS")) { sl_send_reply("405", "Method Not Allowed"); exit; }`}, "the device answers OPTIONS with 405"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v.t, v.robot.t, v.config.Broken = t, t, tt.wrong
			code, out := v.validate("--only", tt.only)
			require.Equal(t, 1, code, out)
			require.Contains(t, out, tt.want)
		})
	}
}
