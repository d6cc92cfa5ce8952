use proptest::prelude::*;

use super::*;
use crate::size::Size;

const OPEN: &str = "<?xpacket begin='\u{feff}' id='W5M0MpCehiHzreSzNTczkc9d'?>\n<x:xmpmeta xmlns:x='adobe:ns:meta/'>\
    <r:RDF xmlns:r='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>";
const CLOSE: &str = "</r:RDF></x:xmpmeta>\n  \n<?xpacket end='w'?>";

fn packet(inside: &str) -> Vec<u8> {
    format!("{OPEN}{inside}{CLOSE}").into_bytes()
}

/// Everything at once, in both forms, with prefixes that nobody uses.
fn rich() -> Vec<u8> {
    packet(
        "\n <r:Description r:about='' xmlns:t='http://ns.adobe.com/tiff/1.0/' xmlns:e='http://ns.adobe.com/exif/1.0/' \
         xmlns:h='http://ns.adobe.com/hdr-gain-map/1.0/' xmlns:c='http://ns.google.com/photos/1.0/camera/' \
         xmlns:p='http://ns.google.com/photos/1.0/panorama/' xmlns:dc='http://purl.org/dc/elements/1.1/' \
         xmlns:k='http://ns.google.com/photos/1.0/container/' xmlns:xmp='http://ns.adobe.com/xap/1.0/' \
         xmlns:d='http://www.dji.com/drone-dji/1.0/' \
         t:Orientation=\"6\" e:PixelXDimension='30' h:Version='1.0' c:MotionPhoto='1' e:GPSLatitude='52,31N' \
         d:GpsLongtitude='13.4' p:CroppedAreaImageWidthPixels='20' xmp:CreatorTool='Camera &amp; Co'>\
         <t:ImageWidth> 30 </t:ImageWidth><e:PixelYDimension>20</e:PixelYDimension>\
         <e:SubjectArea><r:Seq><r:li>0</r:li><r:li>0</r:li><r:li>10</r:li><r:li>4</r:li></r:Seq></e:SubjectArea>\
         <k:Directory><r:Seq><r:li r:parseType='Resource'><k:Item k:Mime='video/mp4'/></r:li></r:Seq></k:Directory>\
         <xmp:Thumbnails><r:Alt><r:li>BASE64</r:li></r:Alt></xmp:Thumbnails>\
         <e:GPSAltitude>34/1</e:GPSAltitude>\
         <dc:title><r:Alt><r:li xml:lang='x-default'>Ein Haus &lt;&#xe4;&gt;</r:li></r:Alt></dc:title>\
         <!-- e:GPSLatitude --><dc:source><![CDATA[<t:Orientation>]]></dc:source>\n</r:Description>",
    )
}

/// 30 × 20, turned to the right and four times as large.
fn turned() -> Turn {
    Turn::new(6, Size::new(30, 20), Size::new(80, 120))
}

fn text(packet: Vec<u8>) -> String {
    String::from_utf8(packet).unwrap()
}

fn provenance() -> Provenance {
    Provenance {
        tool: "upscaled 0.1.0".to_owned(),
        model: "a<b".to_owned(),
        scale: "4".to_owned(),
        tiling: "exact".to_owned(),
    }
}

#[test]
fn sizes_and_orientation_are_the_results_in_attributes_and_elements_of_any_prefix() {
    let patched = text(patch(&rich(), turned(), Place::Keep).unwrap());
    for wanted in [
        "t:Orientation=\"1\"",
        "e:PixelXDimension='80'",
        "<t:ImageWidth>80</t:ImageWidth>",
        "<e:PixelYDimension>120</e:PixelYDimension>",
        "p:CroppedAreaImageWidthPixels='80'",
        // The corner at the top left is at the top right now.
        "<r:li>78</r:li><r:li>2</r:li><r:li>16</r:li><r:li>40</r:li>",
    ] {
        assert!(patched.contains(wanted), "{wanted}\n{patched}");
    }
}

#[test]
fn what_describes_a_payload_or_a_thumbnail_goes_and_the_rest_stays_as_it_was() {
    let patched = text(patch(&rich(), turned(), Place::Keep).unwrap());
    for gone in [
        "h:Version",
        "MotionPhoto",
        "k:Directory",
        "video/mp4",
        "Thumbnails",
    ] {
        assert!(!patched.contains(gone), "{gone}\n{patched}");
    }
    for kept in [
        "Ein Haus &lt;&#xe4;&gt;",
        "<![CDATA[<t:Orientation>]]>",
        "<!-- e:GPSLatitude -->",
        "e:GPSLatitude='52,31N'",
        "\n  \n<?xpacket end='w'?>",
    ] {
        assert!(patched.contains(kept), "{kept}\n{patched}");
    }
    let plain =
        packet("<r:Description r:about='' xmlns:dc='http://purl.org/dc/elements/1.1/' dc:format=\"a\"/>");
    assert_eq!(patch(&plain, turned(), Place::Keep).unwrap(), plain);
    let said = said(&rich()).unwrap();
    assert!(
        said.gain_map && said.video && said.listed && !said.regions,
        "{said:?}"
    );
}

#[test]
fn keep_no_gps_leaves_no_coordinate_of_any_program() {
    let patched = text(patch(&rich(), turned(), Place::Erase).unwrap());
    for gone in ["52,31N", "13.4", "34/1"] {
        assert!(!patched.contains(gone), "{gone}\n{patched}");
    }
    assert!(patched.contains("Ein Haus"));
}

#[test]
fn pixels_that_nobody_turned_keep_their_orientation() {
    let straight = Turn::new(1, Size::new(30, 20), Size::new(120, 80));
    let patched = text(patch(&rich(), straight, Place::Keep).unwrap());
    assert!(patched.contains("t:Orientation=\"6\""), "{patched}");
}

#[test]
fn a_signature_replaces_the_tool_and_keeps_it_in_the_history() {
    let signed = text(sign(Some(&rich()), &provenance()).unwrap());
    assert!(signed.contains("xmp:CreatorTool='upscaled 0.1.0'"), "{signed}");
    assert!(
        signed.contains("<stEvt:softwareAgent>Camera &amp; Co</stEvt:softwareAgent>"),
        "{signed}"
    );
    assert!(signed.contains("model a&lt;b, scale 4, tiling exact"), "{signed}");
    // Once more: the history goes on, and there is only one of each.
    let again = text(sign(Some(signed.as_bytes()), &provenance()).unwrap());
    for (what, times) in [
        ("<xmpMM:History>", 1),
        ("CreatorTool=", 1),
        (">converted<", 2),
        (">created<", 1),
    ] {
        assert_eq!(again.matches(what).count(), times, "{what}\n{again}");
    }
    Document::parse(again.as_bytes()).unwrap();
}

#[test]
fn a_picture_without_xmp_gets_a_packet_and_an_empty_history_is_filled() {
    let signed = sign(None, &provenance()).unwrap();
    assert!(Document::parse(&signed).is_ok());
    assert!(text(signed).contains("<xmp:CreatorTool>upscaled 0.1.0<"));
    let empty = packet(
        "<r:Description r:about='uuid:1' xmlns:m='http://ns.adobe.com/xap/1.0/mm/'><m:History><r:Seq /></m:History>\
         </r:Description>",
    );
    let signed = text(sign(Some(&empty), &provenance()).unwrap());
    assert!(signed.contains("<r:Seq ><rdf:li"), "{signed}");
    assert!(signed.contains("</r:Seq></m:History>"), "{signed}");
    assert!(signed.contains("rdf:about=\"uuid:1\""), "{signed}");
}

#[test]
fn a_packet_that_is_too_long_is_divided_and_joined_again() {
    let depth = "QUJD".repeat(30_000);
    let long = packet(&format!(
        "<r:Description r:about='' xmlns:g='urn:depth' xmlns:dc='http://purl.org/dc/elements/1.1/' g:Data='{depth}' \
         dc:format='image/jpeg'><dc:title>short</dc:title><dc:notes>{}</dc:notes></r:Description>",
        "n".repeat(70_000)
    ));
    assert_eq!(split(&packet(""), 10), None);
    let parts = split(&long, 60_000).unwrap();
    assert!(parts.main.len() <= 60_000);
    assert_eq!(extension(&parts.main).as_deref(), Some(parts.guid.as_str()));
    assert!(text(parts.main.clone()).contains("<dc:title>short</dc:title>"));
    let joined = join(&parts.main, &parts.rest).unwrap();
    assert!(text(joined.clone()).contains(&depth));
    let patched = patch(&joined, turned(), Place::Keep).unwrap();
    assert_eq!(extension(&patched), None);
    assert!(Document::parse(&patched).is_ok());
}

#[test]
fn what_is_no_xml_with_namespaces_is_refused() {
    for wrong in [
        "<r:Description",
        "<r:Description></r:Descriptions>",
        "<r:Description r:about=''></r:Descriptio>",
        "<unbound:x/>",
        "<r:Description r:about=''r:x=''/>",
        "<r:Description r:about=a/>",
        "</r:RDF>",
        "<!DOCTYPE x [<!ENTITY a 'b'>]>",
        "<!-- ",
    ] {
        assert_eq!(
            patch(&packet(wrong), turned(), Place::Keep),
            Err(Malformed),
            "{wrong}"
        );
    }
    let deep = packet(&format!("{}{}", "<r:li>".repeat(100), "</r:li>".repeat(100)));
    let wide = packet(&"<r:li/>".repeat(70_000));
    for wrong in [
        deep,
        wide,
        b"\xff\xfe<\0x\0".to_vec(),
        Vec::new(),
        b"<x/>".to_vec(),
    ] {
        assert_eq!(patch(&wrong, turned(), Place::Keep), Err(Malformed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Whatever a packet is made of: nothing panics, and what comes out can be read.
    #[test]
    fn damaged_packets_are_patched_or_refused(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), "[<>/='\" rxe:!-]|li|<r:li>|\\PC"), 0..5),
        erase: bool,
    ) {
        let mut packet = text(rich());
        for (index, new) in damage {
            let mut at = index.index(packet.len());
            while !packet.is_char_boundary(at) {
                at -= 1;
            }
            packet.replace_range(at..at + packet[at..].chars().next().map_or(0, char::len_utf8), &new);
        }
        let place = if erase { Place::Erase } else { Place::Keep };
        if let Ok(patched) = patch(packet.as_bytes(), turned(), place) {
            prop_assert!(Document::parse(&patched).is_ok());
            let signed = sign(Some(&patched), &provenance()).unwrap();
            prop_assert!(Document::parse(&signed).is_ok());
            if let Some(parts) = split(&signed, 2_000) {
                prop_assert!(join(&parts.main, &parts.rest).is_ok());
            }
        }
    }
}

#[test]
fn properties_are_added_once_and_what_is_there_is_not_touched() {
    let wish = |property, values: &[&str]| Wish {
        property,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    let title = Property::dc("title", Form::Alternatives);
    let subject = Property::dc("subject", Form::Bag);
    let tool = Property::CREATOR_TOOL;
    // The packet has a title and a tool, in both forms.
    let wishes = [
        wish(title, &["Ein Haus"]),
        wish(title, &["Another"]),
        wish(tool, &["Camera & Co"]),
        wish(subject, &["a<b", "zwei\u{1}\nZeilen"]),
        wish(subject, &["other"]),
        wish(Property::photoshop("City", Form::Plain), &["one", "two"]),
    ];
    let (packet, granted) = add(Some(&rich()), &wishes).unwrap();
    use Granted::{No, Yes};
    assert_eq!(granted, [Yes, No, Yes, Yes, No, Yes]);
    let packet = text(packet.unwrap());
    assert!(said(packet.as_bytes()).is_ok());
    let added = "<rdf:Description xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\" \
        xmlns:dc=\"http://purl.org/dc/elements/1.1/\" xmlns:photoshop=\"http://ns.adobe.com/photoshop/1.0/\" \
        rdf:about=\"\"><dc:subject><rdf:Bag><rdf:li>a&lt;b</rdf:li><rdf:li>zwei \nZeilen</rdf:li></rdf:Bag></dc:subject>\
        <photoshop:City>one; two</photoshop:City></rdf:Description>";
    assert_eq!(packet.replace(added, ""), text(rich()));

    let many = vec![""; 1025];
    let long = "x".repeat(65_537);
    let too_much = [
        wish(subject, &many),
        wish(subject, &[&long]),
        wish(title, &[&long]),
    ];
    assert_eq!(add(Some(&rich()), &too_much).unwrap(), (None, vec![No; 3]));

    let (new, granted) = add(None, &[wish(title, &["new"])]).unwrap();
    assert_eq!(granted, [Yes]);
    assert!(said(&new.unwrap()).is_ok());
    assert_eq!(add(Some(&rich()), &wishes[..3]).unwrap().0, None);
    assert_eq!(add(None, &[]).unwrap(), (None, Vec::new()));
    assert_eq!(add(Some(b"no packet"), &[]), Err(Malformed));
}
