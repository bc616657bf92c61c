package config

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/kube-proxy/config/v1alpha1"
)

// Parse reads the content of a configuration file: a KubeProxyConfiguration and, optionally, a FairleadConfiguration. The notices list
// what has no effect. name is the name of the file, for messages. Parse only checks that the values can be decoded, see Validate; its
// error lists all values that cannot.
func Parse(name string, data []byte) (*Config, []Notice, error) {
	c, notices, faults := parse(data)
	if faults != nil {
		for i := range faults {
			faults[i] = fmt.Errorf("%s: %w", name, faults[i])
		}
		return nil, nil, errors.Join(faults...)
	}
	c.origin.file = name
	for i := range notices {
		notices[i].Setting = name + ": " + notices[i].Setting
	}
	return c, notices, nil
}

func parse(data []byte) (*Config, []Notice, []error) {
	proxy, own, notices, err := find(data)
	if err != nil {
		return nil, nil, []error{err}
	}
	var k v1alpha1.KubeProxyConfiguration
	odd, faults := decode(proxy, &k)
	if err := twoModes(odd); err != nil {
		faults = append(faults, err)
	}
	notices = append(notices, ignored(odd, "kube-proxy 1.36 has no such field")...)
	var d Document
	if own != nil {
		odd, wrong := decode(own, &d)
		faults = append(faults, wrong...)
		notices = append(notices, ignored(odd, "this version of Fairlead has no such field in a "+ownKind+", see docs/configuration.md")...)
	}
	if faults != nil {
		return nil, nil, faults
	}
	c := Default()
	c.setKubeProxy(&k)
	c.setOwn(&d)
	notices = append(notices, withoutEffect(&k)...)
	if c.Mode == modeNFTables {
		notices = append(notices, c.replaceNFTables(&k.NFTables))
	}
	return c, notices, nil
}

// ignored returns a notice for each field that decode did not expect. Unknown fields are not an error in either document: a new field
// reaches all nodes before a new version of Fairlead does, and must not stop the old one.
func ignored(odd []string, unknown string) []Notice {
	var notices []Notice
	for _, text := range odd {
		reason := unknown
		if !strings.HasPrefix(text, "unknown") {
			reason = "the last value is used; remove the others"
		}
		notices = append(notices, Notice{text, reason})
	}
	return notices
}

// find returns kube-proxy's document and, if there is one, Fairlead's own.
func find(data []byte) (proxy, own *document, notices []Notice, err error) {
	documents, err := split(data)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, d := range documents {
		reader, err := d.recognize()
		if err != nil {
			return nil, nil, nil, err
		}
		place := &proxy
		switch reader {
		case other:
			notices = append(notices, Notice{fmt.Sprintf("document in line %d", d.line),
				fmt.Sprintf("it is a %q of %q; Fairlead only reads %s and %s", d.Kind, d.APIVersion, kubeProxyKind, ownKind)})
			continue
		case fairlead:
			place = &own
		}
		if *place != nil {
			return nil, nil, nil, fmt.Errorf("lines %d and %d each start a %s; remove one of them", (*place).line, d.line, d.Kind)
		}
		*place = d
	}
	if proxy == nil {
		return nil, nil, nil, fmt.Errorf("contains no %s; start it with the lines \"apiVersion: %s\" and \"kind: %s\"", kubeProxyKind, v1alpha1.SchemeGroupVersion, kubeProxyKind)
	}
	return proxy, own, notices, nil
}

// twoModes rejects a document with two modes. Of other duplicate fields, the last value is used, as in kube-proxy.
func twoModes(odd []string) error {
	for _, text := range odd {
		if strings.HasSuffix(text, `key "mode" already set in map`) || text == `duplicate field "mode"` {
			return fmt.Errorf("mode is set twice (%s); remove one of them", text)
		}
	}
	return nil
}

// reader is the program that a document is for.
type reader int

const (
	other reader = iota
	kubeProxy
	fairlead
)

// recognize returns the reader of a document. A document of kube-proxy's or Fairlead's API group in an unsupported version is an error.
func (d *document) recognize() (reader, error) {
	group, _, _ := strings.Cut(d.APIVersion, "/")
	proxyVersion := v1alpha1.SchemeGroupVersion.String()
	switch {
	case d.APIVersion == proxyVersion && d.Kind == kubeProxyKind:
		return kubeProxy, nil
	case d.APIVersion == ownVersion && d.Kind == ownKind:
		return fairlead, nil
	case d.Kind == kubeProxyKind || group == v1alpha1.GroupName:
		return other, d.misnamed(proxyVersion, kubeProxyKind)
	case d.Kind == ownKind || group == ownGroup:
		return other, d.misnamed(ownVersion, ownKind)
	case d.Kind == "" || d.APIVersion == "":
		return other, fmt.Errorf("the document in line %d has no apiVersion or no kind; kube-proxy's has \"apiVersion: %s\" and \"kind: %s\"", d.line, proxyVersion, kubeProxyKind)
	}
	return other, nil
}

func (d *document) misnamed(version, kind string) error {
	return fmt.Errorf("the document in line %d has apiVersion %q and kind %q; use apiVersion %q and kind %q", d.line, d.APIVersion, d.Kind, version, kind)
}
