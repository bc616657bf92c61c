package listwatch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// Server serves Services, Nodes, EndpointSlices and ServiceCIDRs, and takes events.
type Server struct {
	mu          sync.Mutex
	version     uint64 // of the last change
	collections map[schema.GroupVersionKind]*collection
	changed     chan struct{} // closed by the next change
	events      []runtime.Object
}

// New returns a server that has some objects. It panics as Set does.
func New(objects ...runtime.Object) *Server {
	s := &Server{collections: map[schema.GroupVersionKind]*collection{}, changed: make(chan struct{})}
	for _, kind := range kinds {
		s.collections[kind] = newCollection()
	}
	for _, o := range objects {
		s.Set(o)
	}
	return s
}

// Set adds an object, or puts it in the place of the one with its name, and tells all watchers. The object is copied. Set panics if
// no resource is served for its kind.
func (s *Server) Set(o runtime.Object) { s.change(o, (*collection).set) }

// Delete takes an object away, of which only kind, namespace and name matter, and tells all watchers. There need not be one. Delete
// panics if no resource is served for its kind.
func (s *Server) Delete(o runtime.Object) { s.change(o, (*collection).delete) }

func (s *Server) change(o runtime.Object, change func(*collection, runtime.Object, uint64)) {
	o, kind := kindOf(o)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	change(s.collections[kind], o, s.version)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Events are the events that clients have posted so far, in their order, of the core group or of events.k8s.io.
func (s *Server) Events() []runtime.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	codec := negotiate(r.Header.Get("Accept"))
	var err error
	kind, served := kinds[r.URL.Path]
	switch {
	case served && r.Method == http.MethodGet:
		err = s.get(w, r, codec, kind)
	case strings.HasSuffix(r.URL.Path, "/events") && r.Method == http.MethodPost:
		err = s.post(w, r, codec)
	default:
		err = apierrors.NewGenericServerResponse(http.StatusNotFound, r.Method, schema.GroupResource{}, r.URL.Path, "not served here", 0, true)
	}
	if err != nil {
		refuse(w, codec, err)
	}
}

// get answers a list or a watch.
func (s *Server) get(w http.ResponseWriter, r *http.Request, codec codec, kind schema.GroupVersionKind) error {
	var options metav1.ListOptions
	if err := scheme.ParameterCodec.DecodeParameters(r.URL.Query(), corev1.SchemeGroupVersion, &options); err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("read the options: %v", err))
	}
	selection, err := newSelection(options)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	if options.Watch {
		return s.watch(w, r, codec, kind, selection, options)
	}
	list, err := s.list(kind, selection)
	if err != nil {
		return err
	}
	return answer(w, codec, http.StatusOK, list)
}

// list makes the list anew each time: clients of today watch from the beginning, so that one is rarely asked for.
func (s *Server) list(kind schema.GroupVersionKind, selection selection) (runtime.Object, error) {
	listKind := kind.GroupVersion().WithKind(kind.Kind + "List")
	list, err := scheme.Scheme.New(listKind)
	if err != nil {
		return nil, fmt.Errorf("make a list: %w", err)
	}
	list.GetObjectKind().SetGroupVersionKind(listKind)
	objects, version := s.snapshot(kind)
	items := []runtime.Object{}
	for _, o := range objects {
		if selection.has(o) {
			items = append(items, o.value)
		}
	}
	if err := meta.SetList(list, items); err != nil {
		return nil, fmt.Errorf("fill a list: %w", err)
	}
	head, err := meta.ListAccessor(list)
	if err != nil {
		return nil, fmt.Errorf("read the head of a list: %w", err)
	}
	head.SetResourceVersion(strconv.FormatUint(version, 10))
	return list, nil
}

// snapshot is what there is of a kind, and of which version.
func (s *Server) snapshot(kind schema.GroupVersionKind) ([]*object, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.collections[kind].sorted(), s.version
}

// post keeps an event.
func (s *Server) post(w http.ResponseWriter, r *http.Request, codec codec) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("read an event: %v", err))
	}
	event, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("decode an event: %v", err))
	}
	s.mu.Lock()
	s.events = append(s.events, event)
	s.mu.Unlock()
	return answer(w, codec, http.StatusCreated, event)
}

// answer sends one object.
func answer(w http.ResponseWriter, codec codec, status int, o runtime.Object) error {
	var body bytes.Buffer
	if err := codec.Serializer.Encode(o, &body); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	w.Header().Set("Content-Type", codec.MediaType)
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // who has gone needs no answer
	return nil
}

// refuse sends an error in the way of the API server.
func refuse(w http.ResponseWriter, codec codec, err error) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		status = apierrors.NewInternalError(err)
	}
	body := status.Status()
	body.SetGroupVersionKind(metav1.Unversioned.WithKind("Status"))
	if err := answer(w, codec, int(body.Code), &body); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
