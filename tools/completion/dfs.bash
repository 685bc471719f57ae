# bash completion for dfs. In ~/.bashrc:  source <(dfs completion bash)

_dfs_commands() {
  dfs --help 2>/dev/null | sed -n 's/^  \([a-z]*\)  *.*/\1/p'
}

_dfs_options() {
  dfs "$1" --help 2>/dev/null | grep -oE -- '(^|[ ,])--?[a-z0-9][a-z0-9-]*' | tr -d ' ,'
}

# Names of the cluster in the directory of the word that is being typed; directories with a slash behind.
_dfs_paths() {
  local directory=
  case $1 in */*) directory=${1%/*}/ ;; esac
  local search=(dfs find "${directory:-.}" --no-glob --mindepth 1 --maxdepth 1 --timeout 2s)
  "${search[@]}" -type d 2>/dev/null | sed "s|.*/|$directory|; s|\$|/|"
  "${search[@]}" -type f,l,p,s 2>/dev/null | sed "s|.*/|$directory|"
}

_dfs() {
  local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]}
  local IFS=$'\n'
  COMPREPLY=()
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W "$(_dfs_commands)" -- "$word"))
    return
  fi
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$(_dfs_options "$verb")" -- "$word"))
    return
  fi
  case $verb in
    dev)
      COMPREPLY=($(compgen -W "$(printf '%s\n' start status stop destroy kill pause resume revive)" -- "$word")
                 $(compgen -d -- "$word"))
      return
      ;;
    datanode)
      COMPREPLY=($(compgen -W "$(printf '%s\n' list decommission maintenance recommission release-deletions)" -- "$word"))
      return
      ;;
    mount | umount)
      COMPREPLY=($(compgen -d -- "$word"))
      return
      ;;
    trash)
      COMPREPLY=($(compgen -W "empty" -- "$word"))
      return
      ;;
    admin)
      COMPREPLY=($(compgen -W "$(printf '%s\n' export import)" -- "$word") $(compgen -f -- "$word"))
      return
      ;;
    bench | help | completion | status | df)
      return
      ;;
    put | append)
      COMPREPLY=($(compgen -f -- "$word"))
      ;;
    get)
      if [ "$COMP_CWORD" -gt 2 ]; then COMPREPLY=($(compgen -f -- "$word")); fi
      ;;
  esac
  compopt -o nospace 2>/dev/null
  COMPREPLY+=($(compgen -W "$(_dfs_paths "$word")" -- "$word"))
}
complete -F _dfs dfs
