package config

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

const (
	ownGroup   = "fairlead.dev"
	ownVersion = ownGroup + "/v1alpha1"
	ownKind    = "FairleadConfiguration"
)

// Document is a FairleadConfiguration: the settings that kube-proxy does not have. Fields that are nil have their default.
type Document struct {
	metav1.TypeMeta `json:",inline"`

	Manifests         *string            `json:"manifests,omitempty"`
	TakeOver          *bool              `json:"takeOver,omitempty"`
	MasqueradeAddress *MasqueradeAddress `json:"masqueradeAddress,omitempty"`
	DropInvalid       *DropInvalid       `json:"dropInvalid,omitempty"`
	ServiceCounters   *bool              `json:"serviceCounters,omitempty"`
	IPTables          DocumentIPTables   `json:"iptables,omitempty"`
	IPVS              DocumentIPVS       `json:"ipvs,omitempty"`
	Conntrack         DocumentConntrack  `json:"conntrack,omitempty"`
}

// DocumentIPTables holds a Document's settings of iptables.
type DocumentIPTables struct {
	Variant *string `json:"variant,omitempty"`
}

// DocumentIPVS holds a Document's settings of ipvs mode.
type DocumentIPVS struct {
	DrainTimeout *metav1.Duration `json:"drainTimeout,omitempty"`
	MarkBit      *int             `json:"markBit,omitempty"`
}

// DocumentConntrack holds a Document's settings of connection tracking.
type DocumentConntrack struct {
	DeleteUnrepliedTCP *bool `json:"deleteUnrepliedTCP,omitempty"`
}

// setOwn overrides the defaults in c by Fairlead's own document.
func (c *Config) setOwn(d *Document) {
	given(&c.Manifests, d.Manifests)
	given(&c.TakeOver, d.TakeOver)
	given(&c.MasqueradeAddress, d.MasqueradeAddress)
	given(&c.DropInvalid, d.DropInvalid)
	given(&c.ServiceCounters, d.ServiceCounters)
	given(&c.IPTables.Variant, d.IPTables.Variant)
	if d.IPVS.DrainTimeout != nil {
		c.IPVS.DrainTimeout = d.IPVS.DrainTimeout.Duration
	}
	given(&c.IPVS.MarkBit, d.IPVS.MarkBit)
	given(&c.Conntrack.DeleteUnrepliedTCP, d.Conntrack.DeleteUnrepliedTCP)
}

func given[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// Own returns all settings that kube-proxy does not have, as a document.
func (c *Config) Own() *Document {
	return &Document{
		TypeMeta:          metav1.TypeMeta{APIVersion: ownVersion, Kind: ownKind},
		Manifests:         ptr.To(c.Manifests),
		TakeOver:          ptr.To(c.TakeOver),
		MasqueradeAddress: ptr.To(c.MasqueradeAddress),
		DropInvalid:       ptr.To(c.DropInvalid),
		ServiceCounters:   ptr.To(c.ServiceCounters),
		IPTables:          DocumentIPTables{Variant: ptr.To(c.IPTables.Variant)},
		IPVS:              DocumentIPVS{DrainTimeout: ptr.To(duration(c.IPVS.DrainTimeout)), MarkBit: ptr.To(c.IPVS.MarkBit)},
		Conntrack:         DocumentConntrack{DeleteUnrepliedTCP: ptr.To(c.Conntrack.DeleteUnrepliedTCP)},
	}
}
