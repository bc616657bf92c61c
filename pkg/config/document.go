package config

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// document is one of the YAML or JSON documents in a file.
type document struct {
	metav1.TypeMeta
	line int    // where it starts
	text []byte // preceded by as many empty lines as precede it in the file, so that messages have the right line number
}

// split returns the documents in a file, without those that only contain comments. A line that starts with three hyphens separates
// documents everywhere, even in a block scalar.
func split(data []byte) ([]*document, error) {
	var all []*document
	var text bytes.Buffer
	begin, number := 1, 0
	end := func() error {
		defer text.Reset()
		if blank(text.Bytes()) {
			return nil
		}
		d := &document{line: begin, text: slices.Concat(bytes.Repeat([]byte("\n"), begin-1), text.Bytes())}
		if err := yaml.Unmarshal(d.text, &d.TypeMeta); err != nil {
			return fmt.Errorf("the document in line %d is neither YAML nor JSON: %s", d.line, plain(err))
		}
		all = append(all, d)
		return nil
	}
	for line := range bytes.Lines(data) {
		number++
		rest, separator := bytes.CutPrefix(line, []byte("---"))
		if !separator || len(bytes.TrimSpace(rest)) > 0 && rest[0] != ' ' && rest[0] != '\t' {
			text.Write(line)
			continue
		}
		if err := end(); err != nil {
			return nil, err
		}
		begin = number
		text.Write(bytes.TrimLeft(rest, " \t"))
	}
	return all, end()
}

// blank reports whether a document only contains comments and directives.
func blank(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != '%' && string(line) != "..." {
			return false
		}
	}
	return true
}

// decode reads a document into v, strictly at first and then leniently: odd names unknown and duplicate fields, which are not errors.
// faults has everything else that is wrong, each with the path of the field.
func decode[T any](d *document, v *T) (odd []string, faults []error) {
	data, strictErr := yaml.YAMLToJSONStrict(d.text)
	if text := bytes.TrimSpace(d.text); stdjson.Valid(text) {
		data = text
	} else if strictErr != nil {
		odd = strings.Split(plain(strictErr), "\n")
		var err error
		if data, err = yaml.YAMLToJSON(d.text); err != nil {
			return nil, []error{fmt.Errorf("the document in line %d is neither YAML nor JSON: %s", d.line, plain(err))}
		}
	}
	strict, err := json.UnmarshalStrict(data, v)
	for _, e := range strict {
		odd = append(odd, e.Error())
	}
	if err == nil {
		return odd, nil
	}
	return odd, faultsOf[T](data, err)
}

// plain removes the prefixes that the YAML packages add to an error.
func plain(err error) string {
	text := err.Error()
	for _, prefix := range []string{"error converting YAML to JSON: ", "error unmarshaling JSON: ", "while decoding JSON: ", "yaml: ", "unmarshal errors:\n", "json: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

// faultsOf finds the fields of a document that cannot be decoded into a T, one by one: JSON's errors only name the first one, and do
// not name the field of a duration. whole is the error from decoding all of them.
func faultsOf[T any](data []byte, whole error) []error {
	var fields map[string]any
	if err := stdjson.Unmarshal(data, &fields); err != nil {
		return []error{fmt.Errorf("not a document with fields: %s", plain(err))}
	}
	if all := search[T](nil, fields); len(all) > 0 {
		return all
	}
	return []error{whole}
}

// search returns what is wrong with the fields below a path.
func search[T any](path []string, fields map[string]any) (all []error) {
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		below := append(slices.Clone(path), key)
		err := read[T](below, fields[key])
		if err == nil {
			continue
		}
		if inner, ok := fields[key].(map[string]any); ok {
			if deeper := search[T](below, inner); len(deeper) > 0 {
				all = append(all, deeper...)
				continue
			}
		}
		value, _ := stdjson.Marshal(fields[key])
		all = append(all, fmt.Errorf("%s: invalid value %s: %s", strings.Join(below, "."), value, wanted[T](below, err)))
	}
	return all
}

// read tries to decode a T that only has the field at a path.
func read[T any](path []string, value any) error {
	for _, key := range slices.Backward(path) {
		value = map[string]any{key: value}
	}
	data, err := stdjson.Marshal(value)
	if err != nil {
		return err
	}
	if err := json.UnmarshalCaseSensitivePreserveInts(data, new(T)); err == nil {
		return nil
	}
	// The type of that error is internal; encoding/json returns an equivalent one.
	return stdjson.Unmarshal(data, new(T))
}

// wanted describes the values that the field at a path can have, as far as the error from decoding it tells.
func wanted[T any](path []string, err error) string {
	var wrong *stdjson.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return plain(err)
	}
	switch kind := wrong.Type.Kind(); kind {
	case reflect.Bool:
		return "must be true or false"
	case reflect.String:
		if read[T](path, "30s") == nil && read[T](path, "30") != nil {
			return `must be a duration such as "30s"`
		}
		return "must be a string; quote it if YAML reads it as something else"
	case reflect.Slice:
		return "must be a list"
	case reflect.Float32, reflect.Float64:
		return "must be a number"
	case reflect.Map, reflect.Struct:
		return "must be an object with fields"
	default:
		return fmt.Sprintf("must be an integer (%s)", kind)
	}
}
