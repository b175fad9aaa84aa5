package org

import (
	"bytes"
	"embed"
	"path/filepath"

	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/yamlfile"
)

//go:embed data/*.yaml
var data embed.FS

// Default returns the text of the organisation that is simulated when none is
// given, for a version.
func Default(version string) (name string, text []byte, err error) {
	p, err := profile.Load(version)
	if err != nil {
		return "", nil, err
	}
	for _, v := range p.Lineage {
		if text, err = data.ReadFile("data/" + v + ".yaml"); err == nil {
			text = bytes.Replace(text, []byte(`version: "`+v+`"`), []byte(`version: "`+version+`"`), 1)
			break
		}
	}
	return "organisation/" + version + ".yaml", text, err
}

// Load reads and validates an organisation. The error lists every mistake
// with its place.
func Load(name string, text []byte) (*Organisation, error) {
	var o Organisation
	f, err := yamlfile.Load(name, text, &o)
	if err != nil {
		return nil, err
	}
	o.place(filepath.Dir(name))
	return &o, o.Validate(f)
}

// place finds the files that an organisation names beside its own.
func (o *Organisation) place(dir string) {
	in := func(file string) string {
		if file == "" || filepath.IsAbs(file) {
			return file
		}
		return filepath.Join(dir, file)
	}
	o.Facts, o.TLS.Authority, o.Kerberos.Keytab = in(o.Facts), in(o.TLS.Authority), in(o.Kerberos.Keytab)
	for i, file := range o.DirectTrust {
		o.DirectTrust[i] = in(file)
	}
	for name, file := range o.Prompts {
		o.Prompts[name] = in(file)
	}
	for i := range o.Mailboxes {
		o.Mailboxes[i].Greeting = in(o.Mailboxes[i].Greeting)
	}
	for i := range o.Attendants {
		a := &o.Attendants[i]
		a.Greeting, a.Menu = in(a.Greeting), in(a.Menu)
		for key, k := range a.Keys {
			k.Audio = in(k.Audio)
			a.Keys[key] = k
		}
	}
}

// FromValue reads an organisation that is part of another file: it says only
// what differs from the default organisation of its version.
func FromValue(f *yamlfile.File, v yamlfile.Value, version string) *Organisation {
	if given, ok := v.Get("version"); ok {
		version = given.Text
	}
	name, text, err := Default(version)
	if err != nil {
		f.Report(v.Pos, "", "%v", err)
		return nil
	}
	o, err := Load(name, text)
	if err != nil {
		f.Report(v.Pos, "", "%v", err)
		return nil
	}
	if v.Kind != yamlfile.None {
		clearPlaces(o, v.Pos)
		f.DecodeOver(v, o)
		_ = o.Validate(f) // reported to f
	}
	return o
}

// clearPlaces lets mistakes in what comes from the base point to the place
// that made the base be used.
func clearPlaces(o *Organisation, at yamlfile.Pos) {
	o.Pos = at
	for i := range o.Servers {
		o.Servers[i].Pos, o.Servers[i].Places = at, nil
	}
	for i := range o.DialPlans {
		o.DialPlans[i].Pos = at
	}
	for i := range o.Gateways {
		o.Gateways[i].Pos = at
	}
	for i := range o.HuntGroups {
		o.HuntGroups[i].Pos = at
	}
	for i := range o.Mailboxes {
		o.Mailboxes[i].Pos = at
	}
	for i := range o.Attendants {
		o.Attendants[i].Pos = at
	}
	for i := range o.Policies {
		o.Policies[i].Pos = at
	}
}
