package transport

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/exsim/exsim/sim/store"
)

// queue holds messages on disk until they are delivered, and tries again.
type queue struct {
	store  *store.Store
	folder string
	retry  time.Duration // wait before a message is tried again
	expiry time.Duration // age at which it is given up, 0 for never
	// try delivers a message. An error that is final is one for which there is no
	// use in trying again; expired words that a message is too old; failed is told
	// of each.
	try     func(j *job) error
	final   func(err error) bool
	expired func(err error) error
	failed  func(item store.Item, err error, final bool)

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu   sync.Mutex
	jobs []*job
	more chan struct{} // closed when there are more
	busy int           // jobs being delivered
	idle chan struct{} // closed when one of them is done
}

// job is a message on its way.
type job struct {
	item  store.Item
	due   time.Time
	taken bool      // by the other side: only its file is left to remove
	only  []string  // recipients that are left of it, nil for all
	over  chan bool // says whether it was taken, when that is settled; nil where another job does
}

// senders bounds the connections at once.
const senders = 4

// begin takes what an earlier run left, and goes to work.
func (q *queue) begin() error {
	left, err := q.store.List(q.folder)
	if err != nil {
		return err
	}
	q.more, q.idle = make(chan struct{}), make(chan struct{})
	q.ctx, q.stop = context.WithCancel(context.Background())
	for _, item := range left {
		q.jobs = append(q.jobs, &job{item: item, over: make(chan bool, 1)})
	}
	for range senders {
		q.wg.Go(q.sender)
	}
	return nil
}

// submit takes a message over: it is on disk when submit returns, and on its
// way. The channel is closed when that is over.

func (q *queue) submit(head any, data io.Reader) (over <-chan bool, err error) {
	d, err := q.draft(head, data)
	if err != nil {
		return nil, err
	}
	items, err := d.Commit(q.folder)
	if err != nil {
		return nil, err
	}
	j := &job{item: items[0], over: make(chan bool, 1)}
	q.put(j)
	return j.over, nil
}

// replace puts what is left of a job's message in its place; it is due behind the
// wait.
func (q *queue) replace(j *job, head any, data io.Reader) error {
	d, err := q.draft(head, data)
	if err != nil {
		return err
	}
	item, err := d.Replace(j.item)
	if err == nil {
		q.put(&job{item: item, due: time.Now().Add(q.retry), over: j.over})
		j.over = nil
	}
	return err
}

// aside keeps a message that is refused for good for some; it is none of the
// queue any more.
func (q *queue) aside(head any, data io.Reader) (path string, err error) {
	d, err := q.draft(head, data)
	if err != nil {
		return "", err
	}
	return d.Aside(q.folder, badMail)
}

// badMail is the end of the name of what is given up.
const badMail = ".bad"

func (q *queue) draft(head any, data io.Reader) (*store.Draft, error) {
	first, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	d, err := q.store.Create()
	if err != nil {
		return nil, err
	}
	if _, err = d.Write(append(first, '\n')); err == nil {
		_, err = io.Copy(d, data)
	}
	if err != nil {
		d.Abort()
		return nil, err
	}
	return d, nil
}

func (q *queue) put(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs = append(q.jobs, j)
	close(q.more)
	q.more = make(chan struct{})
}

// next waits for the next due job; nil when the queue is closed.
func (q *queue) next() *job {
	for {
		q.mu.Lock()
		now, wait := time.Now(), time.Hour
		for i, j := range q.jobs {
			if !j.due.After(now) {
				q.jobs = slices.Delete(q.jobs, i, i+1)
				q.busy++
				q.mu.Unlock()
				return j
			}
			wait = min(wait, j.due.Sub(now))
		}
		more := q.more
		q.mu.Unlock()
		select {
		case <-more:
		case <-time.After(wait):
		case <-q.ctx.Done():
			return nil
		}
	}
}

// sender delivers one job after another.
func (q *queue) sender() {
	for j := q.next(); j != nil && q.ctx.Err() == nil; j = q.next() {
		if q.deliver(j) {
			if j.over != nil {
				j.over <- j.taken
			}
		} else {
			j.due = time.Now().Add(q.retry)
			q.put(j)
		}
		q.done()
	}
}

func (q *queue) done() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy--
	close(q.idle)
	q.idle = make(chan struct{})
}

// deliver reports whether the job is done with: the message is taken and its
// file removed, or it is refused for good and kept aside as .bad.
func (q *queue) deliver(j *job) bool {
	var err error
	if !j.taken {
		err = q.try(j)
		j.taken = err == nil
	}
	var some partly
	if errors.As(err, &some) {
		j.only = some.left
	}
	if errors.Is(err, fs.ErrNotExist) {
		return true // somebody has taken the file away
	}
	if j.taken {
		err = q.store.Remove(j.item)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	if q.ctx.Err() != nil {
		return false
	}
	final := q.final(err)
	if !final && q.expiry > 0 && j.item.Age() > q.expiry {
		final, err = true, q.expired(err)
	}
	q.failed(j.item, err, final)
	return final && q.store.SetAside(j.item, badMail) == nil
}

// settle waits until nothing is on its way any more: each message is taken, or
// waits for its next try.
func (q *queue) settle(ctx context.Context) {
	for {
		q.mu.Lock()
		busy := q.busy
		for _, j := range q.jobs {
			if !j.due.After(time.Now()) {
				busy++
			}
		}
		changed := q.idle
		q.mu.Unlock()
		if busy == 0 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// lastWord is how long the answer to a whole message may take: until then the
// connection is kept, also by close, so that a message that is taken is not sent
// again.
const lastWord = 10 * time.Second

// lastWord closes a connection so long behind close, unless it is told that the
// connection is needed no more.
func (q *queue) lastWord(nc net.Conn) (stop func() bool) {
	return context.AfterFunc(q.ctx, func() { time.AfterFunc(lastWord, func() { _ = nc.Close() }) })
}

// close lets what is on its way arrive, for a while, and stops trying; what
// waits then is submitted by the next run.
func (q *queue) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), lastWord)
	defer cancel()
	q.settle(ctx)
	q.stop()
	q.wg.Wait()
	return q.store.Close()
}
