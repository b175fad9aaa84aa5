package scenarios

import (
	"embed"
	"io/fs"
	"slices"
	"strings"
)

//go:embed library/*.yaml
var library embed.FS

// Shipped names the scenarios that come with exsim.
func Shipped() []string {
	names, err := fs.Glob(library, "library/*.yaml")
	if err != nil {
		panic(err) // the pattern is ours
	}
	for i, n := range names {
		names[i] = strings.TrimSuffix(strings.TrimPrefix(n, "library/"), ".yaml")
	}
	slices.Sort(names)
	return names
}

// ShippedText is the text of a shipped scenario; false if there is none of
// that name.
func ShippedText(name string) (text []byte, ok bool) {
	b, err := library.ReadFile("library/" + name + ".yaml")
	return b, err == nil
}
