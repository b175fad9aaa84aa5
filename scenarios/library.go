package scenarios

import (
	"embed"
	"io/fs"
	"path"
	"slices"
	"strings"
)

//go:embed library/*.yaml starters/*.yaml suites/*.yaml
var files embed.FS

// Shipped names the scenarios that come with exsim.
func Shipped() []string { return named("library") }

// ShippedText is the text of a shipped scenario; false if there is none of
// that name.
func ShippedText(name string) (text []byte, ok bool) { return textOf("library", name) }

// Starters names the purposes for which there is a commented file to start
// from.
func Starters() []string { return named("starters") }

// StarterText is the file to start from for a purpose; false if there is none.
func StarterText(purpose string) (text []byte, ok bool) { return textOf("starters", purpose) }

func named(folder string) []string {
	names, err := fs.Glob(files, folder+"/*.yaml")
	if err != nil {
		panic(err) // the pattern is ours
	}
	for i, n := range names {
		names[i] = strings.TrimSuffix(path.Base(n), ".yaml")
	}
	slices.Sort(names)
	return names
}

func textOf(folder, name string) ([]byte, bool) {
	b, err := files.ReadFile(folder + "/" + name + ".yaml")
	return b, err == nil
}
