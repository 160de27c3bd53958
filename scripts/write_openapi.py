"""Writes src/serve/openapi.json, the description that `voisin serve` gives of itself. Run it after a change here:

    python3 scripts/write_openapi.py

schemathesis holds the server against it (scripts/check_serve)."""

import json
import pathlib

T=lambda t,**k:dict(type=t,**k)
N=lambda t,**k:dict(type=[t,"null"],**k)
ref=lambda n:{"$ref":"#/components/schemas/"+n}
def obj(props,req=None,closed=False,**k):
    d=dict(type="object",properties=props,**k)
    d["required"]=sorted(props) if req is None else req
    if not d["required"]: del d["required"]
    if closed: d["additionalProperties"]=False
    return d
arr=lambda i,**k:dict(type="array",items=i,**k)
I=T("integer"); F=T("number"); S=T("string"); B=T("boolean")
gen=dict(generation=T("integer",description="The library's state that the answer is of; it grows with every change of a vector."))
names=lambda d:arr(S,maxItems=100,description=d)
filt=dict(
 genre=names("Any of these genres."),
 exclude_genre=names("None of these genres."),
 artist=names("Any of these artists."),
 exclude_artist=names("None of these artists."),
 year=T("string",pattern=r"^(\d{1,4}|\d{1,4}-|-\d{1,4}|\d{1,4}-\d{1,4})$",description="1970, 1970-1979, 1990- or -1965."),
 folder=names("Below any of these folders, as the library has them."),
 licence=names("Under any of these licences: cc-by (any version of it), cc-by-4.0, cc, or a part of a name."),
 tag=names("All of these words, WORD or WORD:PERCENT, as GET /words lists them."),
 not_tag=names("None of these words."),
 min_duration=T("number",description="Seconds."),max_duration=T("number",description="Seconds."),
 bpm=T("string",description="Beats a minute, or a span such as 120-128, 120- or -90."),
 bpm_octave=T("boolean",description="Half and twice that tempo as well."),
 key=names("Any of these keys: Am, F#, 8A, or `compatible` with the seeds' keys."),
 loudness=T("string",description="LUFS, or a span such as -16..-9, -14.. or ..-9."))
near=dict(limit=T("integer",minimum=1,maximum=1000,default=10),max_per_artist=T("integer",minimum=1,maximum=1000000),
 min_similarity=T("number",minimum=-1,maximum=1),include_seed=T("boolean",default=False),
 sort=T("string",enum=["similarity","bpm","key","loudness"],default="similarity"),
 search=T("string",enum=["auto","exact","scan","lists","hnsw"]))
labels=T("string",enum=["tags","folder"],description="Where genres come from; without it, from where the trained head has them.")
classify=dict(neighbours=T("integer",minimum=1,maximum=1000),other_artists=B,among=arr(S,maxItems=100),
 precision=T("number",minimum=0,maximum=1),label_from=labels,search=near["search"])
genre_of=dict(path=S,source=T("string",enum=["first_guess","neighbours","head","nobody"]),genre=N("string"),best=N("string"),probability=F,
 unknown=N("string"),kin=arr(S),novelty=N("number"),confidence=N("string"),agreement=N("string"),summary=S,
 probabilities=N("object"),basis=N("object"),head=N("object"),votes=T("object"),labelled_tracks=I,labelled_genres=I,voters=I,
 evidence=arr(obj(dict(id=I,path=S,genre=S,similarity=F,weight=F,artist=N("string"),name=S))))
track=dict(id=I,path=S,artist=N("string"),title=N("string"),album=N("string"),album_artist=N("string"),genres=arr(S),year=N("integer"),
 seconds=F,codec=S,licence=N("string"),mbid=N("string"),isrc=N("string"),replay_gain=N("number"),tempo=N("number",description="Beats a minute."),
 key=N("string"),camelot=N("string"),loudness=N("number",description="LUFS."),loudness_is_exact=N("boolean"),
 added=T("integer",description="Seconds since 1970 UTC."),files=I)
heard=dict(words=arr(obj(dict(word=S,percentile=F)),description="What stands out in it, where words=true asked for it."))
song=dict(name=S,mbid=S,isrc=S,artist=S,artists=arr(obj(dict(name=S),["name"])),album=S,path=S,duration=T("number",description="Seconds."),durationMs=F)
seed=dict(id=N("integer"),path=S)
genre=obj(dict(genre=S,tracks=I,cohesion=F,nearest=arr(T("object")),typical=arr(T("object")),borderline=arr(T("object"))))
sch=dict(
 Problem=obj(dict(type=S,title=S,status=I,detail=S,expected=S,found=S,next=T("string",description="The next step.")),["type","title","status","detail","next"],description="Why there is no answer (RFC 9457)."),
 Named=obj(dict(id=T("integer",minimum=-2**63,maximum=2**63-1),path=S,words=S),[],True,minProperties=1,maxProperties=1,description="A track: by its id, by its path as the library has it, or by words that fit it alone."),
 Filters=obj(filt,[],True),
 Track=obj({**track,**heard},list(sorted(track))),
 Song=obj(song,[],description="A song as Navidrome's plugins refer to it: found by MBID, ISRC or path, else by title, artists, album and length."),
 Neighbours=obj(dict(**gen,seeds=arr(obj(seed)),neighbours=arr(obj(dict(rank=I,id=I,path=S,similarity=F,similarity_to_unlike=F,artist=N("string"),title=N("string"),genres=arr(S)),["rank","id","path","similarity","artist","title","genres"])))),
 Passages=obj({**gen,"seed":obj(seed),"from":F,"to":F,"passages":arr(obj({"rank":I,"id":I,"path":S,"from":F,"to":F,"similarity":F,"listened":B,"artist":N("string"),"title":N("string")}))}),
 Genres=obj(dict(**gen,items=arr(obj(genre_of)),notes=arr(S))),
 Walk=obj(dict(**gen,tracks=arr(T("object")),largest_step=F,smallest_possible=F)),
 Matches=obj(dict(**gen,found_by=arr(T("string",enum=["mbid","isrc","path","tags"])),matches=arr(obj(dict(song=ref("Song"),similarity=T("number",minimum=0,maximum=1),track=I))))),
 Scan=obj(dict(state=T("string",enum=["idle","running","done","stopped","failed"]),done=I,total=I,summary=N("object"),message=N("string"))),
)
js=lambda s:{"application/json":{"schema":s}}
PROB={"application/problem+json":{"schema":ref("Problem")}}
NAMES={}
def resp(ok,*codes,open_=False,okcode="200",okbody=True):
    r={okcode:dict(description="The answer.")}
    if okbody: r[okcode]["content"]=ok
    NAMES.update({400:"It cannot be understood.",401:"The token is missing or wrong.",403:"Not for this host or origin.",404:"There is no such track, genre or cluster.",405:"Not with this method.",409:"Not in this state of the library, or of the scan.",413:"Too long.",414:"Too long an address.",415:"Not of this type.",416:"Outside the file.",422:"It can be understood, and has no answer.",429:"Too many wrong tokens.",500:"A fault.",503:"Not now: ask again after Retry-After seconds."})
    base=[400,403,405,414,500,503]+([] if open_ else [401,429])
    for c in sorted(set(base)|set(codes)):
        r[str(c)]={"$ref":"#/components/responses/%d"%c}
    return r
def q(name,s,desc=None): 
    d=dict(name=name,schema=s,required=False); d["in"]="query"
    if s.get("type")=="array": d.update(style="form",explode=True)
    return d
def get(summary,ok,params=(),codes=(),**k): return dict(summary=summary,parameters=list(params),responses=resp(js(ok),*codes,**k))
def post(summary,body,ok,codes=()): return dict(summary=summary,requestBody=dict(required=True,content=js(body)),responses=resp(js(ok),*(409,404,413,415,422)+tuple(codes)))
def filebody(summary,params,ok): return dict(summary=summary,parameters=params,requestBody=dict(required=True,description="The bytes of an audio file, at most 200 MB.",content={"application/octet-stream":{"schema":{}},"audio/*":{"schema":{}}}),responses=resp(js(ok),404,409,413,415,422))
def paged(what,default=100,least=-2**63): return [q("limit",T("integer",minimum=1,maximum=1000,default=default)),q("after",T("integer",minimum=least,maximum=2**63-1,description=what))]
END=dict(total=T("integer",description="Of all pages."),next=N("integer",description="Names the next page, as `after`; null on the last one."))
idp=dict(name="id",required=True,schema=T("integer",minimum=0)); idp["in"]="path"
fq=[q(k,v) for k,v in filt.items()]
op={
"/health":{"get":dict(summary="Whether the server answers. Needs no token.",security=[],responses=resp(js(obj(dict(status=S,version=S))),open_=True))},
"/openapi.json":{"get":get("This description.",T("object"))},
"/session":{"post":dict(summary="Gives the page a cookie for its token.",security=[],requestBody=dict(required=True,content=js(obj(dict(token=S),closed=True))),responses=resp(None,401,413,415,429,okcode="204",okbody=False)),
            "delete":dict(summary="Takes the page's cookie back.",security=[],responses=resp(None,401,429,okcode="204",okbody=False))},
"/status":{"get":get("What the library holds, and the state of its index; as `voisin status`.",obj(dict(**gen,tracks=I,files=I),["generation","tracks","files"]))},
"/tracks":{"get":get("The tracks, a page at a time; as `voisin list`.",obj(dict(**gen,total=I,tracks=arr(ref("Track")),next=N("integer",description="Names the next page."))),
   [q("query",S),q("limit",T("integer",minimum=1,maximum=1000,default=100)),q("after",T("integer",minimum=-2**63,maximum=2**63-1)),q("sort",T("string",enum=["id","artist","album","title","genre","year","time","added","path","size","codec","licence","bpm","key","loudness"],default="artist")),q("reverse",B),q("words",B)]+fq,(404,409))},
"/find":{"get":get("Music by what it sounds like, in words; as `voisin find`.",obj(dict(**gen,understood=arr(obj(dict(word=S,denied=B,tags=arr(S)))),unknown=arr(S),tracks=arr(obj(dict(rank=I,id=I,path=S,fit=F,terms=T("object"),artist=N("string"),title=N("string"),genres=arr(S)))))),
   [dict(q("query",S),required=True),q("limit",T("integer",minimum=1,maximum=1000,default=20))]+fq,(404,409))},
"/words":{"get":get("Every word that is understood; as `voisin find --words`.",obj(dict(**gen,words=arr(obj(dict(word=S,tags=arr(S)))))))},
"/tracks/{id}":{"get":get("A track.",{"allOf":[obj(gen),ref("Track")]},[idp,q("words",B)],(404,))},
"/tracks/{id}/audio":{"get":dict(summary="The stored file of a track; ranges are answered.",parameters=[idp],responses={**resp({"audio/*":{"schema":{}},"application/octet-stream":{"schema":{}}},404,416),"206":dict(description="A part of it.",content={"audio/*":{"schema":{}},"application/octet-stream":{"schema":{}}})})},
"/tracks/{id}/cover":{"get":dict(summary="The picture in a track's file; 204 where there is none.",parameters=[idp],responses={**resp({"image/*":{"schema":{}}},404),"204":dict(description="There is none.")})},
"/lists":{"post":dict(summary="Tracks as a playlist, with the paths that the library has.",requestBody=dict(required=True,content=js(obj(dict(tracks=arr(I,maxItems=1000),title=T("string",maxLength=500),format=T("string",enum=["m3u8","xspf","jspf"])),["tracks","format"],True))),responses=resp({"audio/x-mpegurl":{"schema":S},"application/xspf+xml":{"schema":S},"application/jspf+json":{"schema":T("object")}},404,413,415))},
"/labels":{"get":get("Genres given by hand, a page at a time; as `voisin labels`.",obj(dict(**gen,**END,source=S,by_hand=arr(obj(dict(id=I,path=S,artist=N("string"),title=S,genre=S))))),paged("The last track of the page before."),(404,)),
           "post":post("Gives tracks a genre by hand, or takes it away; as `voisin labels set` and `unset`.",obj(dict(tracks=arr(I,minItems=1,maxItems=1000),genre=N("string",description="null takes it away.")),["tracks"],True),obj(dict(**gen,changed=I)))},
"/labels/undo":{"post":post("Takes back the last change of a label; as `voisin labels undo`.",T("object"),obj(dict(**gen,track=N("object"),before=N("string"),after=N("string"))))},
"/labels/write":{"post":post("Writes labels given by hand into the files of these tracks, over what is there; `voisin undo` takes it back.",obj(dict(tracks=arr(I,minItems=1,maxItems=1000,description="At most 20 without dry_run."),dry_run=T("boolean",default=True),run=N("integer",description="Goes on with this run, the last one.")),["tracks"],True),obj(dict(**gen,run=N("integer"),items=arr(obj(dict(path=S,outcome=T("string",enum=["written","would_write","unchanged","kept","unknown","failed"]),before=arr(S),after=arr(S),reason=S))))))},
"/similar":{"post":post("What sounds like these tracks, or like a passage of one; as `voisin similar`.",obj({"seeds":arr(ref("Named"),minItems=1,maxItems=500),"filters":ref("Filters"),**near,"unlike":arr(ref("Named"),maxItems=500),"unlike_weight":T("number",minimum=0,maximum=1),"from":T("number",description="Seconds."),"to":T("number",description="Seconds."),"rough":B},["seeds"],True),{"anyOf":[ref("Neighbours"),ref("Passages")]})},
"/classify":{"post":post("Which genre these tracks are; as `voisin classify`.",obj(dict(tracks=arr(ref("Named"),minItems=1,maxItems=500),**classify),["tracks"],True),ref("Genres"))},
"/path":{"post":post("The way from one track to another; as `voisin path`.",obj({"from":ref("Named"),"to":ref("Named"),"via":arr(ref("Named"),maxItems=500),"steps":T("integer",minimum=1,maximum=999),"max_per_artist":near["max_per_artist"]},["from","to"],True),ref("Walk"))},
"/playlist":{"post":post("A list for an evening; as `voisin playlist`.",obj(dict(seeds=arr(ref("Named"),maxItems=500),filters=ref("Filters"),cluster=T("integer",minimum=0,maximum=2**32-1),limit=T("integer",minimum=1,maximum=1000),length=T("number",exclusiveMinimum=0,maximum=864000,description="Seconds, instead of limit."),max_per_artist=T("integer",minimum=0,maximum=1000000,default=2,description="0: no limit."),diversity=T("number",minimum=0,maximum=1),shuffle=T("integer",minimum=0,maximum=2**64-1),min_similarity=near["min_similarity"],no_duplicates=B,keep_duplicates=B,harmonic=T("boolean",description="Each key mixes with the one before."),max_bpm_step=T("number",exclusiveMinimum=0,description="Beats a minute from one track to the next.")),[],True),obj(dict(**gen,items=arr(T("object")))))},
"/genres":{"get":get("How near the genres lie to each other, a page at a time; as `voisin genres`.",obj(dict(**gen,**END,genres=arr(genre),distance=arr(arr(F),description="A row for each genre of the page, a column for each of all genres."))),[q("label_from",labels)]+paged("How many genres were on the pages before.",least=0),(404,409,422))},
"/clusters":{"get":get("Groups of tracks that sound alike; as `voisin clusters`. Each page describes all of them, and names `limit` members: of one cluster after the other, then of noise.",obj(dict(**gen,**END,clusters=arr(T("object")),noise=arr(T("object"))),["generation","total","next","clusters","noise"]),[q("detail",T("string",enum=["coarse","default","fine"])),q("clusters",T("integer",minimum=1,maximum=1000))]+paged("The last member of the page before."),(404,409,422))},
"/map":{"get":get("Where each track lies on the map, a page at a time; as `voisin map`.",obj(dict(**gen,**END,tracks=arr(obj(dict(id=I,x=F,y=F,cluster=I,artist=N("string"),title=S,genre=N("string"),year=N("integer"),seconds=F,tempo=N("number"),key=N("string"),camelot=N("string"),loudness=N("number"),word=N("string",description="What stands out most in its sound.")))),clusters=arr(obj(dict(id=I,name=S,tracks=I))))),paged("The last track of the page before.",1000),(404,409,422))},
"/suspects":{"get":get("Labels that look wrong, a page at a time; as `voisin suspects`.",obj(dict(**gen,**END,items=arr(T("object")))),[q("label_from",labels),q("all",B)]+paged("The last track of the page before."),(404,409,422))},
"/duplicates":{"get":get("Recordings that are there several times, a page at a time; as `voisin duplicates`.",obj(dict(**gen,**END,items=arr(T("object")))),[q("rough",B)]+paged("The track to keep of the last group of the page before."),(404,409,422))},
"/refs/similar":{"post":post("What sounds like these songs, by a player's references.",obj(dict(songs=arr(ref("Song"),maxItems=500),albums=arr(obj(dict(name=S,artist=S),["name"]),maxItems=500),artists=arr(obj(dict(name=S),["name"]),maxItems=500),count=T("integer",minimum=1,maximum=1000,default=10),max_per_artist=near["max_per_artist"],filters=ref("Filters")),[],True),ref("Matches"))},
"/refs/path":{"post":post("The way from one song to another, by a player's references.",obj(dict(start=ref("Song"),end=ref("Song"),count=T("integer",minimum=1,maximum=1000,default=25)),["start","end"],True),ref("Matches"))},
"/refs/artists":{"post":post("Artists near to one, by a player's reference.",obj(dict(artist=obj(dict(name=S),["name"]),count=T("integer",minimum=1,maximum=1000,default=10)),["artist"],True),obj(dict(**gen,artists=arr(obj(dict(name=S,similarity=F))))))},
"/files/similar":{"post":filebody("What sounds like this file, which need not be in the library.",[q(k,v) for k,v in near.items()]+fq,ref("Neighbours"))},
"/files/classify":{"post":filebody("Which genre this file is, which need not be in the library.",[q(k,v) for k,v in classify.items()],ref("Genres"))},
"/scan":{"get":dict(summary="How the scan goes: once, or as events where text/event-stream is accepted.",responses=resp({**js(ref("Scan")),"text/event-stream":{"schema":S}})),
         "post":dict(summary="Starts `voisin add` of the folders that were named at the start.",requestBody=dict(required=False,description="Passed over.",content=js({})),responses=resp(js(ref("Scan")),409,413,415,okcode="202")),
         "delete":dict(summary="Stops the scan; the tracks in hand are finished first.",responses=resp(js(ref("Scan")),409,okcode="202"))},
}
doc=dict(openapi="3.1.0",info=dict(title="voisin",version="{{VERSION}}",description="Answers of a voisin library. Each says of which state of the library it is (`generation`). docs/serve.md explains more.",license=dict(name="MIT OR Apache-2.0")),
 servers=[dict(url="{{BASE}}/api/v1")],security=[{"token":[]},{"cookie":[]}],
 paths=op,components=dict(securitySchemes=dict(token=dict(type="http",scheme="bearer"),cookie={"type":"apiKey","in":"cookie","name":"voisin"}),schemas=sch,responses={str(c):dict(description=d,content=PROB) for c,d in NAMES.items()}))

def lines(value, depth, indent=""):
    """JSON with one line for whatever lies deeper than `depth`."""
    if depth == 0 or not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    inner = indent + "  "
    parts = [f"{inner}{json.dumps(name)}: {lines(part, depth - 1, inner)}" for name, part in value.items()]
    return "{\n" + ",\n".join(parts) + f"\n{indent}}}"

path = pathlib.Path(__file__).parent.parent / "src/serve/openapi.json"
path.write_text(lines(doc, 3) + "\n")
