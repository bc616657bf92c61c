package listwatch

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
)

// selection is which objects of a kind a client wants to see.
type selection struct {
	labels labels.Selector
	fields fields.Selector
}

func newSelection(options metav1.ListOptions) (s selection, err error) {
	if s.labels, err = labels.Parse(options.LabelSelector); err != nil {
		return s, fmt.Errorf("read the label selector: %w", err)
	}
	if s.fields, err = fields.ParseSelector(options.FieldSelector); err != nil {
		return s, fmt.Errorf("read the field selector: %w", err)
	}
	return s, nil
}

func (s selection) has(o *object) bool {
	return o != nil && s.labels.Matches(o.labels) && s.fields.Matches(o.fields)
}

// event is a change as one sees it who sees the selection only, or a nil object if that is nothing.
func (s selection) event(c change) (watch.EventType, *object) {
	switch before, after := s.has(c.before), s.has(c.after); {
	case before && after:
		return watch.Modified, c.after
	case after:
		return watch.Added, c.after
	case before:
		return watch.Deleted, c.before
	default:
		return "", nil
	}
}

// watch sends changes until the client has enough of them.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, codec codec, kind schema.GroupVersionKind, selection selection, options metav1.ListOptions) error {
	begin, err := s.begin(kind, options)
	if err != nil {
		return err
	}
	ctx := r.Context()
	if options.TimeoutSeconds != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(*options.TimeoutSeconds)*time.Second)
		defer cancel()
	}
	out := newStream(w, codec)
	for _, o := range begin.objects {
		if selection.has(o) {
			out.send(watch.Added, o)
		}
	}
	if begin.marked {
		out.mark(kind, begin.version)
	}
	for next := begin.next; ; {
		changes, changed := s.after(kind, next)
		next += len(changes)
		for _, c := range changes {
			if event, o := selection.event(c); o != nil {
				out.send(event, o)
			}
		}
		if out.flush() != nil {
			return nil // the client has gone
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// beginning is what a watch starts with.
type beginning struct {
	objects []*object // that are sent first
	marked  bool      // whether their end is marked
	version uint64    // of the objects
	next    int       // the first change after them
}

// begin finds out where a watch starts: with all objects unless the client says what it has seen.
func (s *Server) begin(kind schema.GroupVersionKind, options metav1.ListOptions) (beginning, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.collections[kind]
	all := beginning{objects: c.sorted(), version: s.version, next: len(c.history)}
	if options.SendInitialEvents != nil && *options.SendInitialEvents {
		all.marked = true
		return all, nil
	}
	if options.ResourceVersion == "" || options.ResourceVersion == "0" {
		return all, nil
	}
	seen, err := strconv.ParseUint(options.ResourceVersion, 10, 64)
	if err != nil {
		return beginning{}, apierrors.NewBadRequest(fmt.Sprintf("read the resource version: %v", err))
	}
	return beginning{next: c.since(seen)}, nil
}

// after is all changes but the first n, and a channel that is closed when there are more.
func (s *Server) after(kind schema.GroupVersionKind, n int) ([]change, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.collections[kind].history[n:], s.changed
}

// stream writes watch events. The first error stays, and is what flush returns.
type stream struct {
	codec  codec
	buffer *bufio.Writer // or each event would be a packet
	out    streaming.Encoder
	answer *http.ResponseController
	err    error
}

func newStream(w http.ResponseWriter, codec codec) *stream {
	mediaType := codec.MediaType
	if mediaType == runtime.ContentTypeProtobuf {
		mediaType += ";stream=watch"
	}
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(http.StatusOK)
	buffer := bufio.NewWriterSize(w, 64<<10)
	out := streaming.NewEncoder(codec.StreamSerializer.NewFrameWriter(buffer), codec.StreamSerializer.Serializer)
	return &stream{codec: codec, buffer: buffer, out: out, answer: http.NewResponseController(w)}
}

func (s *stream) send(event watch.EventType, o *object) {
	if s.err != nil {
		return
	}
	encoded, err := o.encode(s.codec)
	if err == nil {
		err = s.out.Encode(&metav1.WatchEvent{Type: string(event), Object: runtime.RawExtension{Raw: encoded}})
	}
	s.err = err
}

// mark says that the objects that there were at the beginning have all been sent.
func (s *stream) mark(kind schema.GroupVersionKind, version uint64) {
	value, err := scheme.Scheme.New(kind)
	if err != nil {
		s.err = fmt.Errorf("make a bookmark: %w", err)
		return
	}
	value.GetObjectKind().SetGroupVersionKind(kind)
	head, err := meta.Accessor(value)
	if err != nil {
		s.err = fmt.Errorf("make a bookmark: %w", err)
		return
	}
	head.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	s.send(watch.Bookmark, newObject(value, version))
}

func (s *stream) flush() error {
	if s.err == nil {
		s.err = s.buffer.Flush()
	}
	if s.err == nil {
		s.err = s.answer.Flush()
	}
	return s.err
}
