package lab

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
)

// Recording is the WAV that is attached to a stored message.
func Recording(path string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	msg, err := mail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	_, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	parts := multipart.NewReader(msg.Body, params["boundary"])
	for {
		p, err := parts.NextPart()
		if err != nil {
			return nil, fmt.Errorf("no WAV is attached: %w", err)
		}
		if strings.HasSuffix(p.FileName(), ".wav") {
			return io.ReadAll(base64.NewDecoder(base64.StdEncoding, p))
		}
	}
}
