package config

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/kube-proxy/config/v1alpha1"
)

// Parse reads the content of a configuration file: a KubeProxyConfiguration and, where there is one, a FairleadConfiguration. The notices
// say what of it has no effect. name is the file's, for messages. Nothing is validated but that it can be read; the error has all that
// keeps it from that.
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
	for _, text := range odd {
		effect := "has no effect: kube-proxy 1.36 has no such field"
		if !strings.HasPrefix(text, "unknown") {
			effect = "of its values the last one holds; leave one of them"
		}
		notices = append(notices, Notice{text, effect})
	}
	var d Document
	if own != nil {
		odd, wrong := decode(own, &d)
		faults = append(append(faults, wrong...), unknown(odd)...)
	}
	if faults != nil {
		return nil, nil, faults
	}
	c := Default()
	c.setKubeProxy(&k)
	c.setOwn(&d)
	return c, append(notices, withoutEffect(&k)...), nil
}

// find finds kube-proxy's document and, where there is one, our own.
func find(data []byte) (proxy, own *document, notices []Notice, err error) {
	documents, err := split(data)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, d := range documents {
		is, err := d.recognize()
		if err != nil {
			return nil, nil, nil, err
		}
		place := &proxy
		switch is {
		case nobodys:
			notices = append(notices, Notice{fmt.Sprintf("document in line %d", d.line),
				fmt.Sprintf("has no effect: it is a %q of %q, and Fairlead reads %s and %s alone", d.Kind, d.APIVersion, kubeProxyKind, ownKind)})
			continue
		case ours:
			place = &own
		}
		if *place != nil {
			return nil, nil, nil, fmt.Errorf("lines %d and %d each begin a %s; leave one of them", (*place).line, d.line, d.Kind)
		}
		*place = d
	}
	if proxy == nil {
		return nil, nil, nil, fmt.Errorf("has no %s; let it begin with the lines \"apiVersion: %s\" and \"kind: %s\"", kubeProxyKind, v1alpha1.SchemeGroupVersion, kubeProxyKind)
	}
	return proxy, own, notices, nil
}

// twoModes refuses a document that has two modes. Of other doubled fields the last one holds.
func twoModes(odd []string) error {
	for _, text := range odd {
		if strings.HasSuffix(text, `key "mode" already set in map`) || text == `duplicate field "mode"` {
			return fmt.Errorf("mode is there twice (%s); leave one of them", text)
		}
	}
	return nil
}

// unknown makes faults of what is odd in our own document: all of its fields are known to whoever wrote it.
func unknown(odd []string) (faults []error) {
	for _, text := range odd {
		faults = append(faults, fmt.Errorf("%s, in %s; docs/configuration.md has the fields that there are", text, ownKind))
	}
	return faults
}

// whose says who reads a document.
type whose int

const (
	nobodys whose = iota
	kubeProxys
	ours
)

// recognize tells a document by its kind. One that is meant for us, but is not of a version that we read, is an error.
func (d *document) recognize() (whose, error) {
	group, _, _ := strings.Cut(d.APIVersion, "/")
	proxyVersion := v1alpha1.SchemeGroupVersion.String()
	switch {
	case d.APIVersion == proxyVersion && d.Kind == kubeProxyKind:
		return kubeProxys, nil
	case d.APIVersion == ownVersion && d.Kind == ownKind:
		return ours, nil
	case d.Kind == kubeProxyKind || group == v1alpha1.GroupName:
		return nobodys, d.misnamed(proxyVersion, kubeProxyKind)
	case d.Kind == ownKind || group == ownGroup:
		return nobodys, d.misnamed(ownVersion, ownKind)
	case d.Kind == "" || d.APIVersion == "":
		return nobodys, fmt.Errorf("the document in line %d lacks apiVersion or kind; that of kube-proxy has \"apiVersion: %s\" and \"kind: %s\"", d.line, proxyVersion, kubeProxyKind)
	}
	return nobodys, nil
}

func (d *document) misnamed(version, kind string) error {
	return fmt.Errorf("the document in line %d has apiVersion %q and kind %q; Fairlead reads apiVersion %q and kind %q", d.line, d.APIVersion, d.Kind, version, kind)
}
