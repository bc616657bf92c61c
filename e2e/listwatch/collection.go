package listwatch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
)

// kinds says what is served, and where.
var kinds = map[string]schema.GroupVersionKind{
	"/api/v1/services": corev1.SchemeGroupVersion.WithKind("Service"),
	"/api/v1/nodes":    corev1.SchemeGroupVersion.WithKind("Node"),
	"/apis/discovery.k8s.io/v1/endpointslices": discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"),
	"/apis/networking.k8s.io/v1/servicecidrs":  networkingv1.SchemeGroupVersion.WithKind("ServiceCIDR"),
}

// kindOf returns a copy of an object that bears its kind, as all that is sent has to.
func kindOf(o runtime.Object) (runtime.Object, schema.GroupVersionKind) {
	known, _, err := scheme.Scheme.ObjectKinds(o)
	if err != nil {
		panic(fmt.Sprintf("listwatch: %v", err))
	}
	for _, kind := range kinds {
		if slices.Contains(known, kind) {
			o = o.DeepCopyObject()
			o.GetObjectKind().SetGroupVersionKind(kind)
			return o, kind
		}
	}
	panic(fmt.Sprintf("listwatch: %T is not served", o))
}

// object is one version of an object. It never changes.
type object struct {
	value    runtime.Object
	labels   labels.Set
	fields   fields.Set
	protobuf []byte // value as proxies ask for it
}

// newObject gives a value its version; the value is the object's from then on.
func newObject(value runtime.Object, version uint64) *object {
	head, err := meta.Accessor(value)
	if err != nil {
		panic(fmt.Sprintf("listwatch: %v", err))
	}
	head.SetResourceVersion(strconv.FormatUint(version, 10))
	encoded, err := runtime.Encode(protobuf.Serializer, value)
	if err != nil {
		panic(fmt.Sprintf("listwatch: encode %T %s: %v", value, head.GetName(), err))
	}
	o := &object{value: value, labels: head.GetLabels(), protobuf: encoded,
		fields: fields.Set{"metadata.name": head.GetName(), "metadata.namespace": head.GetNamespace()}}
	if svc, ok := value.(*corev1.Service); ok {
		o.fields["spec.clusterIP"] = svc.Spec.ClusterIP
	}
	return o
}

// encode writes the object down.
func (o *object) encode(c codec) ([]byte, error) {
	if c.MediaType == protobuf.MediaType {
		return o.protobuf, nil
	}
	return runtime.Encode(c.Serializer, o.value)
}

// change is what watchers are told.
type change struct {
	version uint64
	before  *object // as it was, but with the version of the change; nil if it is new
	after   *object // nil if it is gone
}

// collection is all objects of a kind, and how they came to be what they are.
type collection struct {
	objects map[types.NamespacedName]*object
	history []change
}

func newCollection() *collection { return &collection{objects: map[types.NamespacedName]*object{}} }

func keyOf(value runtime.Object) types.NamespacedName {
	head, err := meta.Accessor(value)
	if err != nil {
		panic(fmt.Sprintf("listwatch: %v", err))
	}
	return types.NamespacedName{Namespace: head.GetNamespace(), Name: head.GetName()}
}

func (c *collection) set(value runtime.Object, version uint64) {
	key := keyOf(value)
	after := newObject(value, version)
	c.history = append(c.history, change{version, c.last(key, version), after})
	c.objects[key] = after
}

func (c *collection) delete(value runtime.Object, version uint64) {
	key := keyOf(value)
	before := c.last(key, version)
	if before == nil {
		return
	}
	c.history = append(c.history, change{version, before, nil})
	delete(c.objects, key)
}

// last is the object as those see it go who do not see it any more: with the version of its end.
func (c *collection) last(key types.NamespacedName, version uint64) *object {
	if o := c.objects[key]; o != nil {
		return newObject(o.value.DeepCopyObject(), version)
	}
	return nil
}

// sorted is all objects by name.
func (c *collection) sorted() []*object {
	keys := slices.SortedFunc(maps.Keys(c.objects), func(a, b types.NamespacedName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	list := make([]*object, len(keys))
	for i, key := range keys {
		list[i] = c.objects[key]
	}
	return list
}

// since is how many changes come before the first that is newer than a version.
func (c *collection) since(version uint64) int {
	return sort.Search(len(c.history), func(i int) bool { return c.history[i].version > version })
}
