package smtp

import (
	"errors"
	"io"
	"strconv"
	"strings"

	gosmtp "github.com/emersion/go-smtp"
)

// bdat receives one chunk (RFC 3030). A refused chunk is consumed, so that its
// octets are never taken for commands.
func (c *conn) bdat(args string) error {
	size, last, ok := parseBDAT(args)
	if !ok {
		c.fail(ReplyInvalidArguments)
		return errQuit // without its size the chunk cannot be skipped
	}
	if refusal := c.mayChunk(); refusal != "" {
		if err := c.chunkTo(io.Discard, size); err != nil {
			return err
		}
		c.fail(refusal)
		return nil
	}
	if c.chunks == nil {
		if c.dropped() {
			return errQuit
		}
		c.chunks = newChunks(c.back, c.s.fault)
	}
	var to io.Writer = c.chunks
	c.chunks.octets += size
	if c.tooBig(c.chunks.octets) {
		c.chunks.abort(errTooBig)
		to = io.Discard
	}
	if err := c.chunkTo(to, size); err != nil {
		return err
	}
	c.received(size)
	if last {
		c.endChunks(c.ask(StageMessage))
		return nil
	}
	if turnsAway(c.chunks.early()) {
		c.endChunks(nil)
		return c.turnAway()
	}
	if c.s.conf.TarpitChunks {
		c.delay(c.s.conf.Tarpit, ReplyChunk)
	}
	c.reply(ReplyChunk, "octets", strconv.FormatInt(size, 10))
	return nil
}

// mayChunk is the refusal of a chunk at this point, "" where it may come.
func (c *conn) mayChunk() Reply {
	switch {
	case !c.offers("CHUNKING"):
		return ReplyUnrecognized
	case !c.mail:
		return c.tooEarly()
	case c.rcpts == 0:
		return ReplyNeedRcpt
	}
	return ""
}

// endChunks answers the message.
func (c *conn) endChunks(t *Trouble) {
	if t != nil && t.Reply != "" {
		c.chunks.abort(errTrouble)
	}
	octets, err := c.chunks.octets, c.chunks.end()
	c.chunks = nil
	c.outcome(err, octets, t)
}

func parseBDAT(args string) (size int64, last, ok bool) {
	f := strings.Fields(args)
	if len(f) < 1 || len(f) > 2 || len(f) == 2 && !strings.EqualFold(f[1], "LAST") {
		return 0, false, false
	}
	n, err := strconv.ParseUint(f[0], 10, 62)
	return int64(n), len(f) == 2, err == nil
}

// chunkTo moves exactly n octets; a writer that fails is given no more.
func (c *conn) chunkTo(w io.Writer, n int64) error {
	if n > bufferSize {
		c.grow(bigBuffer)
	}
	for n > 0 {
		if len(c.in) == 0 {
			if err := c.fill(); err != nil {
				return broken(err)
			}
		}
		part := c.in[:min(n, int64(len(c.in)))]
		if _, err := w.Write(part); err != nil {
			w = io.Discard
		}
		c.in = c.in[len(part):]
		n -= int64(len(part))
	}
	return nil
}

// chunks joins the chunks of one message into the reader that the back end
// wants; the back end reads on a goroutine of its own.
type chunks struct {
	w      *io.PipeWriter
	result chan error
	octets int64
}

func newChunks(back gosmtp.Session, fault func(p any)) *chunks {
	r, w := io.Pipe()
	k := &chunks{w: w, result: make(chan error, 1)}
	take := func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				fault(p)
				err = errFault
			}
		}()
		return back.Data(r)
	}
	go func() {
		err := take()
		_ = r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		k.result <- err
	}()
	return k
}

// errFault is a panic of the back end.
var errFault = errors.New("a fault of exsim")

func (k *chunks) Write(b []byte) (int, error) { return k.w.Write(b) }

// end waits for the back end's judgement of the whole message.
func (k *chunks) end() error {
	_ = k.w.Close()
	return <-k.result
}

// early is the judgement, where the back end has not waited for the end.
func (k *chunks) early() error {
	select {
	case err := <-k.result:
		k.result <- err
		return err
	default:
		return nil
	}
}

// abort tells the back end that the message will not be complete.
func (k *chunks) abort(why error) {
	_ = k.w.CloseWithError(why)
	k.result <- <-k.result // wait for it; the result stays for end
}

// maxBlob bounds what XEXCH50 brings.
const maxBlob = 1 << 20

// blob takes the octets of XEXCH50 LENGTH COUNT, properties of a message in a
// form of its own, from who may send them, and drops them.
func (c *conn) blob(args string) error {
	f := strings.Fields(args)
	var size uint64
	err := errors.New("two numbers")
	if len(f) == 2 {
		size, err = strconv.ParseUint(f[0], 10, 32)
	}
	back, ok := c.back.(BlobTaker)
	switch {
	case !c.offers("XEXCH50"):
		c.fail(ReplyUnrecognized)
	case !c.mail:
		c.fail(c.tooEarly())
	case err != nil || size > maxBlob:
		c.fail(ReplyInvalidArguments)
	case !ok || !back.TakesBlob():
		c.fail(ReplyBlobRefused)
	default:
		c.reply(ReplyStartBlob)
		if err := c.chunkTo(io.Discard, int64(size)); err != nil {
			return err
		}
		c.reply(ReplyBlobOK)
	}
	return nil
}
