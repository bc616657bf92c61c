package tracer

import (
	"errors"
	"strings"
)

// splitWords cuts a line into words as iptables-restore does: blanks separate
// words, double quotes keep blanks together, and a backslash takes the next
// character as it is, but only between quotes. A closing quote ends the word.
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	quoted, escaped := false, false
	for i := range len(line) {
		c := line[i]
		switch {
		case quoted && escaped:
			word.WriteByte(c)
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case quoted && c == '"':
			quoted = false
			words = append(words, word.String())
			word.Reset()
		case quoted:
			word.WriteByte(c)
		case c == '"':
			quoted = true
		case c == ' ' || c == '\t':
			if word.Len() > 0 {
				words = append(words, word.String())
				word.Reset()
			}
		default:
			word.WriteByte(c)
		}
	}
	if quoted {
		return nil, errors.New("a quote is not closed")
	}
	if word.Len() > 0 {
		words = append(words, word.String())
	}
	return words, nil
}

// quoteWord writes a free text as iptables-save does: bare only if it is made
// of letters, digits, '_' and '-'.
func quoteWord(s string) string {
	if s != "" && strings.IndexFunc(s, needsQuote) < 0 {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		if strings.IndexByte(`"'\`, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}

func needsQuote(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
		return false
	}
	return true
}

// checkName refuses names that iptables-save, which writes them unquoted,
// could not write so that they can be read again.
func checkName(kind, name string, most int) error {
	switch {
	case name == "":
		return errors.New(kind + " is empty")
	case len(name) > most:
		return errors.New(kind + " " + name + " is too long")
	case name[0] == '-' || name[0] == '!':
		return errors.New(kind + " " + name + " starts with - or !")
	case strings.ContainsAny(name, " \t\n\v\f\r\"\\'"):
		return errors.New(kind + " " + name + " has a blank, quote or backslash")
	}
	return nil
}
