// Package sasl holds the answering side of the mechanisms by which Exchange's
// peers log on, as state machines without a socket: LOGIN ([MS-XLOGIN]), NTLM
// ([MS-NLMP]) and GSSAPI with Kerberos (RFC 4752). They are go-sasl's Server: a
// nil response means that the client has said nothing yet.
package sasl

import (
	"errors"

	gosasl "github.com/emersion/go-sasl"
)

// ErrRefused is a log-on with a name or password that is not right. Which of
// them is not told.
var ErrRefused = errors.New("wrong name or password")

// errFinished is a response to an exchange that is over.
var errFinished = errors.New("the exchange is over")

// Login takes a name and a password in clear. check says whether they are
// right.
func Login(check func(user, password string) error) gosasl.Server { return &login{check: check} }

type login struct {
	check func(user, password string) error
	step  int
	user  string
}

// Next asks for the name, which may come with the command, and then for the
// password.
func (l *login) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil && l.step == 0 {
		return []byte("Username:"), false, nil
	}
	l.step++
	switch l.step {
	case 1:
		l.user = string(response)
		return []byte("Password:"), false, nil
	case 2:
		return nil, true, l.check(l.user, string(response))
	}
	return nil, false, errFinished
}
