#compdef dfs
# zsh completion for dfs. In ~/.zshrc, after compinit:  source <(dfs completion zsh)

_dfs_names() {
  local directory=
  case $PREFIX in */*) directory=${PREFIX%/*}/ ;; esac
  local -a search directories files
  search=(dfs find "${directory:-.}" --no-glob --mindepth 1 --maxdepth 1 --timeout 2s)
  directories=(${(f)"$($search -type d 2>/dev/null | sed "s|.*/|$directory|")"})
  files=(${(f)"$($search -type f,l,p,s 2>/dev/null | sed "s|.*/|$directory|")"})
  compadd -S / -q -- $directories
  compadd -- $files
}

_dfs() {
  if (( CURRENT == 2 )); then
    local -a commands
    commands=(${(f)"$(dfs --help 2>/dev/null | sed -n 's/^  \([a-z]*\)  *\(.*\)/\1:\2/p')"})
    _describe command commands
    return
  fi
  if [[ $PREFIX == -* ]]; then
    compadd -- $(dfs $words[2] --help 2>/dev/null | grep -oE -- '(^|[ ,])--?[a-z0-9][a-z0-9-]*' | tr -d ' ,')
    return
  fi
  case $words[2] in
    datanode) if (( CURRENT == 3 )); then compadd list decommission maintenance recommission release-deletions; fi ;;
    dev) if (( CURRENT == 3 )); then compadd start status stop destroy kill pause resume revive; else _files; fi ;;
    trash) compadd empty ;;
    admin) if (( CURRENT == 3 )); then compadd export import; else _files; fi ;;
    mount|umount) _files -/ ;;
    bench|help|completion|status|df) ;;
    put|append) _files; _dfs_names ;;
    get) _dfs_names; if (( CURRENT > 3 )); then _files; fi ;;
    *) _dfs_names ;;
  esac
}

# Called by the completion system when it loaded this file by itself; otherwise only registered.
if [[ $funcstack[1] == _dfs ]]; then _dfs "$@"; else compdef _dfs dfs; fi
