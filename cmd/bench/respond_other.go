//go:build !linux

package main

import "errors"

func respond(string) error { return errors.New("the responder of the sweep part is for Linux") }
